"""``torchrun … -m fashionlib.train RECIPE.json``: one process of a distributed run."""

import json
import sys
from pathlib import Path

from fashionlib.train import Recipe, train

if __name__ == "__main__":
    train(Recipe.from_dict(json.loads(Path(sys.argv[1]).read_text())))
