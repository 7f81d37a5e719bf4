"""The checkpoint that cuts out, and the facts about it: data, licences, origin. Reads metadata alone."""

from pathlib import Path

from fashionlib.models.metadata import SHIPPED as DEFAULT_MODEL
from fashionlib.models.metadata import read_metadata

TERMS = {  # of the data sets; THIRD_PARTY.md says where each was read
    "sample": "drawn by fashionlib: Apache-2.0",
    "ccp": "Clothing Co-Parsing: released under Apache-2.0, labels and photos together; who took the photos"
    " is not stated",
    "fashionpedia": "Fashionpedia: no terms found where the files are hosted; the photos are their owners'",
    "imaterialist": "iMaterialist (Fashion) 2020: Kaggle's competition rules, quoted as non-commercial"
    " research and educational purposes",
}


def checkpoint(path=None) -> Path:
    """Path of the checkpoint that `load_model` reads. Raises FileNotFoundError where there is none."""
    path = Path(path or DEFAULT_MODEL)
    if not path.is_file():
        how = (
            "give the checkpoint of a run, such as runs/sample/<run>/epoch_<n>.safetensors"
            " (`fashionlib reproduce --data sample` makes them)"
        )
        what = "No model ships with this version" if path == DEFAULT_MODEL else f"There is no model at {path}"
        raise FileNotFoundError(f"{what}: {how}.")
    return path


def about(model=None) -> str:
    """Facts about the checkpoint `model` (None: the shipped one), from its metadata, one a line.

    Raises FileNotFoundError or ValueError where there is no such checkpoint.
    """
    path = checkpoint(model)
    metadata = read_metadata(path)
    preset, init = metadata.get("recipe", {}).get("preset", "not stated"), metadata.get("init_report", {})
    data = metadata.get("data", "not stated")
    epochs = ", ".join(map(str, metadata.get("epochs") or [metadata.get("epoch", "not stated")]))
    card = path.with_suffix(".md")
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    facts = {
        "model": f"{path} ({size}): {metadata['model']}, scale {metadata['scale']}",
        "run": f"{metadata.get('run', 'not stated')}, epoch {epochs}, preset {preset}",
        "classes": "; ".join(metadata["classes"][1:]),
        "data": f"{data}, class set {metadata.get('class_set', 'not stated')}",
        "data's terms": TERMS.get(data.split("-")[0], "not known to fashionlib"),
        "initial weights": _origin(init) or f"{metadata.get('init', 'none')}",
        "their licence": init.get("licence") or "nothing is stated",
        "code": "fashionlib, Apache-2.0",
        "card": str(card) if card.is_file() else "",
        "more": "THIRD_PARTY.md of the repository: all terms, and where each was read",
    }
    return "\n".join(f"{name:>15}  {fact}" for name, fact in facts.items() if fact)


def _origin(init: dict) -> str:
    """The initial weights of the first of a chain of runs, and how many runs followed."""
    *runs, first = f"{init.get('source', '')}. {init.get('note', '')}".split(" It started from ")
    source, _, note = first.partition(". ")
    more = f", trained in {len(runs)} earlier runs, each from what the one before had learnt" if runs else ""
    return f"{source}{more}. {note}".strip(" .") + "." if source else ""
