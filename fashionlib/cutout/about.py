"""``fashionlib cutout --about``: which model it is, what it learnt from, and under which terms."""

from fashionlib import models
from fashionlib.core import paths
from fashionlib.cutout import segment

TERMS = {  # of the data sets, as THIRD_PARTY.md states them with where each was read
    "sample": "drawn by fashionlib: Apache-2.0",
    "ccp": "Clothing Co-Parsing: released under Apache-2.0, labels and photos together; who took the photos"
    " is not stated",
    "fashionpedia": "Fashionpedia: no terms found where the files are hosted; the photos are their owners'",
    "imaterialist": "iMaterialist (Fashion) 2020: Kaggle's competition rules, quoted as non-commercial"
    " research and educational purposes",
}


def about(model=None) -> str:
    """A few lines on the checkpoint `model` (None: the shipped one), from what it says about itself.

    Raises FileNotFoundError or ValueError where there is no such checkpoint.
    """
    path = segment.checkpoint(model)
    meta = models.read_metadata(path)
    preset, init = meta.get("recipe", {}).get("preset", "not stated"), meta.get("init_report", {})
    data = meta.get("data", "not stated")
    epochs = ", ".join(map(str, meta.get("epochs") or [meta.get("epoch", "not stated")]))
    card = path.with_suffix(".md")
    facts = {
        "model": f"{path} ({path.stat().st_size / 1e6:.1f} MB): {meta['model']}, scale {meta['scale']}",
        "run": f"{meta.get('run', 'not stated')}, epoch {epochs}, preset {preset}",
        "classes": "; ".join(meta["classes"][1:]),
        "data": f"{data}, class set {meta.get('class_set', 'not stated')}",
        "data's terms": TERMS.get(data.split("-")[0], "not known to fashionlib"),
        "initial weights": _origin(init) or f"{meta.get('init', 'none')}",
        "their licence": init.get("licence") or "nothing is stated",
        "code": "fashionlib, Apache-2.0",
        "card": str(card) if card.is_file() else "",
        "more": f"{paths.PROJECT / 'THIRD_PARTY.md'}: all terms, and where each was read",
    }
    return "\n".join(f"{name:>15}  {fact}" for name, fact in facts.items() if fact)


def _origin(init: dict) -> str:
    """What the first of a chain of runs began with; the runs since then are counted."""
    *runs, first = f"{init.get('source', '')}. {init.get('note', '')}".split(" It started from ")
    source, _, note = first.partition(". ")
    more = f", trained in {len(runs)} earlier runs, each from what the one before had learnt" if runs else ""
    return f"{source}{more}. {note}".strip(" .") + "." if source else ""
