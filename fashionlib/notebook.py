"""Notebook helpers: checked parameters, short errors, and curves that grow while a run trains.

papermill 2.7 passes parameters on without looking at them: an unknown name is a warning in a log,
``-p stratify true`` arrives as the string ``"true"``, and annotations are not enforced. The cell
after the parameters therefore calls `check_parameters`.
"""

import concurrent.futures
import html
import linecache
import math
import os
import time
import traceback
import warnings
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from fashionlib.core import paths
from fashionlib.core.classes import check_name
from fashionlib.core.run_files import declared_parameters, statements
from fashionlib.data import prepared
from fashionlib.data.sources import require_raw  # noqa: F401  (the notebooks call it from here)

warnings.filterwarnings("ignore", module=r"mmseg\.")  # advice to those who write MMSegmentation configs

_KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": (list, tuple), "dict": dict}
_INJECTED = "# Parameters\n"  # papermill's first line of the cell it adds


def check_parameters(scope: dict, **allowed: Collection) -> None:
    """Refuse the parameters that papermill lets through: unknown names, wrong types, values not allowed.

    `scope` is the notebook's ``globals()``. Names, types and defaults are those of the annotated literals in
    the cells run so far (IPython keeps their text in ``In``); None is allowed where it is the default.
    `allowed` says what a parameter, or each item of a list, may be: one of some names, or a number between
    two bounds (None: no upper one). Also switches to `short_errors`. Raises ValueError with one sentence.
    """
    if shell := scope.get("get_ipython"):
        short_errors(shell())
    declared = {name: what for cell in scope["In"] for name, what in declared_parameters(cell).items()}
    injected = [cell for cell in scope["In"] if cell.startswith(_INJECTED)]
    assignments = [node for cell in injected for node in statements(cell)]
    for target in (target for node in assignments for target in getattr(node, "targets", ())):
        check_name(target.id, declared, "parameter")
    for name, (kind, default) in declared.items():
        _check_type(name, scope[name], kind, default)
        if twice := sorted(set(scope[name] or ()) & declared.keys()) if kind == "dict" else ():
            raise ValueError(f"{name} holds {twice[0]}, a parameter of its own: say -p {twice[0]} … instead.")
    for name, values in allowed.items():
        given = scope[name] if isinstance(scope[name], list | tuple) else [scope[name]]
        for value in given if scope[name] is not None else ():
            _check_value(name, value, values)


def short_errors(shell) -> None:
    """Show an error with a sentence of ours as that and the cell's line, the traceback folded below.

    `shell` is IPython's. An error is ours where the library raised it, not a package that it calls. All
    others, and ours under ``FASHION_DEBUG=1``, stay as IPython shows them.
    """

    def show(self, kind, error, trace, tb_offset=None) -> list[str]:
        full = self.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=1)
        sentence = None if os.environ.get("FASHION_DEBUG") else _sentence(error)
        short = sentence and [*_line_of_cell(self, trace), "", sentence]
        if short:
            text = html.escape("".join(traceback.format_exception(kind, error, trace.tb_next)))
            fold = f"<details><summary>Traceback</summary><pre>{text}</pre></details>"
            self.display_pub.publish({"text/html": fold})
        self._showtraceback(kind, error, short or full)
        return short or full

    shell.set_custom_exc((Exception, KeyboardInterrupt), show)


def require_prepared(data: str) -> Path:
    """The folder ``data/<data>``; FileNotFoundError with the command that prepares it."""
    folder = paths.data_folder(data)
    prepared.require(folder)
    return folder


def require_runs(data: str, names: list[str] | None) -> None:
    """FileNotFoundError where `data` has no runs, ValueError where one of `names` is none of them."""
    from fashionlib.evaluate.runs import find

    find(data, names)


class LiveCurves:
    """Loss and pixel accuracy of a run in training, redrawn in place from its ``history.csv``::

        with notebook.LiveCurves(recipe) as curves:
            train.train(recipe, on_iteration=curves)

    So a resumed run shows what it did before, and a stopped or finished one all of its points. Drawn at most
    once in `every` seconds and for at most a twentieth of the time: neither the training nor papermill
    (which cuts a flooded output and still exits 0) suffers from it.
    """

    def __init__(self, recipe, every: float = 1.0):
        self.recipe, self.every = recipe, every
        self.history = paths.run_folder(recipe.data, recipe.name) / "history.csv"
        self._handle, self._next = None, 0.0

    def __enter__(self) -> "LiveCurves":
        return self

    def __exit__(self, error, *_) -> None:
        if error is None or self._handle:  # not of a run that was refused: the folder is another's
            self.draw()

    def __call__(self, row: dict) -> None:
        """Redraw, if it is time to; `train` calls this with every row of the history."""
        if time.monotonic() >= self._next:
            self.draw()

    def draw(self) -> None:
        """Show all that the history holds."""
        from IPython.display import display

        begun = time.monotonic()
        figure = self._figure(pd.read_csv(self.history))
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        now = time.monotonic()
        self._next = now + max(self.every, 20 * (now - begun))

    def _figure(self, rows: pd.DataFrame):
        from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice

        figure = Figure(figsize=(7, 2.4), layout="constrained")
        shown = rows[:: max(1, len(rows) // 500)]  # 500 points are all a small picture can show
        units = {"loss_decode": "loss [nats per pixel]", "acc": "pixel accuracy [%]"}
        for axes, (column, label) in zip(figure.subplots(1, 2), units.items(), strict=True):
            axes.plot(shown.iter, shown[column], linewidth=1, marker="." if len(shown) < 20 else None)
            axes.set(xlabel="iteration", ylabel=label)
        epoch, iteration = rows[["epoch", "iter"]].iloc[-1]
        title = f"epoch {epoch} of {self.recipe.epochs}, iteration {iteration}"
        figure.suptitle(title, fontsize="medium")
        return figure


def _sentence(error: BaseException) -> str | None:
    """What to say of an error that the library raised, here or in a worker process; None for all others."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped. Run this cell again to go on."
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    ours = (Path(__file__).parent, Path(concurrent.futures.__file__).parent)
    foreseen = ValueError | OSError | MemoryError | RuntimeError
    if not isinstance(error, foreseen) or not str(error) or not set(ours) & set(raised_in.parents):
        return None
    return f"{type(error).__name__}: {error}"


def _line_of_cell(shell, trace) -> list[str]:
    """Where it happened, in IPython's words: the last line of the notebook's own code in a traceback."""
    *_, (frame, number) = (at for at in traceback.walk_tb(trace) if at[0].f_globals is shell.user_ns)
    cell = " ".join(shell.compile.format_code_name(frame.f_code.co_filename) or ("Cell",))  # Cell In[3]
    line = linecache.getline(frame.f_code.co_filename, number).rstrip()
    return [f"{cell}, line {number}", f"----> {number} {line}"]


def _check_type(name: str, value, kind: str, default) -> None:
    mistaken_bool = isinstance(value, bool) and kind != "bool"  # Python's True is an int
    if (value is None and default is None) or (isinstance(value, _KINDS[kind]) and not mistaken_bool):
        return
    either = f"{kind} or None" if default is None else kind
    raise ValueError(f"Parameter {name} = {value!r} is not {either}.{_hint(name, value, kind)}")


def _check_value(name: str, value, allowed: Collection) -> None:
    low, *_, high = allowed
    if isinstance(low, str):
        check_name(value, allowed, name)
    elif not low <= value <= (math.inf if high is None else high):
        limit = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"Parameter {name} = {value!r} must be {limit}.")


def _hint(name: str, value, kind: str) -> str:
    """How to write on papermill's command line what was meant by the text `value`."""
    if isinstance(value, str) and value.lower() in ("true", "false", "none"):
        return f" papermill reads Python's words: -p {name} {value.capitalize()}."
    if isinstance(value, str) and kind in ("list", "dict"):
        return f" papermill reads a {kind} as YAML: -y '{name}: …'."
    return ""
