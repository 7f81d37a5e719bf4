"""Which notebooks run, with which parameters, and which files each of them reads and writes.

A plan maps a notebook to its parameters, and ``03_train`` to a list of them, one mapping a run.
``results/<data>/plan.yaml`` is the plan of ``fashionlib reproduce --data <data>``::

    02_prepare: {class_set: person}
    03_train:
      - {model: segmenter_vit_s, preset: finetune, scale: full, init: dinov2, epochs: 10}
      - {model: setr_mla, preset: quick}          # the rest as 03's parameters cell has it

Everything in it is checked before anything runs: a slip in the last run must not show after a day.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from fashionlib.core import checked_files, paths
from fashionlib.core.classes import check_name
from fashionlib.core.run_files import parameter_defaults

if TYPE_CHECKING:
    from fashionlib.train import Recipe

_PREPARED = ("data/{data}/dataset.json", "data/{data}/splits/*.txt")
_EPOCHS = "runs/{data}/{run}/epoch_*.safetensors"
_PICKED = "runs/{data}/results/picked_epochs.csv"
_RESULTS = "runs/{data}/results/"
_FIGURES = "runs/{data}/figures/"

# notebook -> (what it reads, what it has to leave behind): patterns below the home, `{run}` once a run
FILES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "00_the_paper": (
        ("raw/{data}/*.*",),
        (*(_FIGURES + f"fig{n}_*.pdf" for n in (1, 2, 3)), "runs/{data}/pictures/fig_one_photo.png"),
    ),
    "01_raw_data": (
        ("raw/{data}/*.*",),
        (_FIGURES + "fig_class_frequency.pdf", _FIGURES + "fig_mask_areas.pdf", "runs/{data}/audit.md"),
    ),
    "02_prepare": (("raw/{data}/*.*",), _PREPARED),
    "03_train": (_PREPARED, ("runs/{data}/{run}/history.csv", "runs/{data}/{run}/done.json")),
    "04_validation_curves": (
        (*_PREPARED, _EPOCHS, "runs/{data}/{run}/history.csv"),
        (_RESULTS + "validation.csv", _PICKED, *(_FIGURES + f"fig{n}_*.pdf" for n in (4, 5, 6))),
    ),
    "05_test_metrics": (
        (*_PREPARED, _EPOCHS, _PICKED),
        (*(_RESULTS + f"table1.{kind}" for kind in ("csv", "md", "tex")), _RESULTS + "per_class.csv"),
    ),
    "06_background_removal": ((*_PREPARED, _EPOCHS, _PICKED), ("runs/{data}/pictures/cutouts.png",)),
    "07_beyond_the_paper": (
        (*_PREPARED, "results/*/studies/*.yaml", "results/*/studies/runs.csv"),
        ("runs/{data}/studies/answers.csv",),
    ),
    "08_your_own_photos": (  # the example; its name may hold any number of photos
        _PREPARED,
        tuple(f"runs/{{data}}-own*/{name}" for name in ("results/before_after.csv", "model.onnx")),
    ),
    "09_look_inside": (
        (*_PREPARED, _EPOCHS, _PICKED),
        (_FIGURES + "fig_attention_distance.pdf", "runs/{data}/pictures/fig_film_strip.png"),
    ),
}
TRAIN = "03_train"


@dataclass(frozen=True)
class Step:
    """One notebook with its parameters; `reads` and `writes` are glob patterns below the home."""

    name: str  # names the executed copy and the stamp
    notebook: str
    parameters: dict
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def read(
    data: str, path: str | Path | None = None, models: Collection[str] = (), overrides: dict | None = None
) -> dict:
    """The plan for `data`: notebook -> parameters, ``03_train`` -> a list of them.

    From the file `path`, else ``results/<data>/plan.yaml``, else the paper's four models with 03's own
    defaults. `models` keeps only their runs, with a new one for a model that the plan lacks; `overrides`
    go to every run. Raises ValueError naming the file and what is wrong in it, FileNotFoundError.
    """
    source = Path(path) if path else paths.published_results(data) / "plan.yaml"
    if path and not source.is_file():
        raise FileNotFoundError(f"There is no plan at {source}.")
    plan = _read_yaml(source) if source.is_file() else {}
    runs = plan.get(TRAIN) or [{"model": name} for name in _paper_models()]
    if models:
        planned = {name: [run for run in runs if run.get("model") == name] for name in models}
        runs = [run for name in models for run in planned[name] or [{"model": name}]]
    return {**plan, TRAIN: [{**run, **(overrides or {})} for run in runs]}


def steps(data: str, plan: dict) -> list[Step]:
    """The steps of `plan` in order, parameters checked; 04 to 06 are told its runs and see no others.

    Raises ValueError for an unknown notebook or parameter, two runs of one name, or a recipe that can't be.
    """
    _check(plan)
    runs: dict[str, dict] = {}
    for given in plan[TRAIN]:
        name = recipe({"data": data, **given}).name
        if name in runs:
            raise ValueError(f"Two runs of the plan would both be {name}: give one of them a `variant`.")
        runs[name] = {"data": data, **given}
    listed = []
    for notebook in FILES:
        if notebook == TRAIN:
            listed += [_step(f"{TRAIN}.{run}", TRAIN, given, data, [run]) for run, given in runs.items()]
        else:
            known = {"runs": list(runs)} if "runs" in parameter_defaults(notebook) else {}
            listed.append(
                _step(notebook, notebook, {"data": data, **known, **plan.get(notebook, {})}, data, runs)
            )
    return listed


def recipe(parameters: dict) -> "Recipe":
    """The recipe that 03 makes of these parameters; ValueError for what can't be trained."""
    from fashionlib.train import Recipe  # takes seconds: the engine

    values = parameter_defaults(TRAIN) | parameters
    settings = values["settings"] or {}
    known = {field.name for field in fields(Recipe)}
    return Recipe.from_preset(**{name: value for name, value in values.items() if name in known}, **settings)


def _read_yaml(path: Path) -> dict:
    content = checked_files.text(path)
    try:
        plan = yaml.safe_load(content) or {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date that is none
        raise ValueError(f"{path} is not valid YAML: {checked_files.reason(error)}.") from None
    runs = plan.get(TRAIN, []) if isinstance(plan, dict) else None
    if not isinstance(runs, list) or not all(isinstance(given, dict) for _, given in _entries(plan)):
        raise ValueError(
            f"{path}: a plan maps a notebook to its parameters, and {TRAIN} to a list of such mappings."
        )
    return plan


def _entries(plan: dict) -> list[tuple[str, dict]]:
    """Notebook and parameters of every entry of a plan, 03 once a run."""
    others = [(notebook, parameters) for notebook, parameters in plan.items() if notebook != TRAIN]
    return [*others, *((TRAIN, run) for run in plan.get(TRAIN, ()))]


def _check(plan: dict) -> None:
    """Check names of notebooks and parameters; recipe and notebooks check the values."""
    for notebook, parameters in _entries(plan):
        check_name(notebook, FILES, "notebook")
        for name in parameters:
            check_name(name, parameter_defaults(notebook), f"parameter of {notebook}")


def _step(name: str, notebook: str, parameters: dict, data: str, runs: Iterable[str]) -> Step:
    reads, writes = (
        tuple(dict.fromkeys(pattern.format(data=data, run=run) for pattern in patterns for run in runs))
        for patterns in FILES[notebook]
    )
    return Step(name, notebook, parameters, reads, writes)


def _paper_models() -> tuple[str, ...]:
    from fashionlib.models import PAPER  # takes seconds: the engine

    return PAPER
