"""How the shipped cut-out model is made and judged; ``python -m tools.cutout_model --help``."""
