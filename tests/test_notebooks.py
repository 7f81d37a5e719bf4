"""The notebooks as documents: structure, parameters, what they say when something is missing."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import IPython.display
import nbformat
import papermill
import pytest

from fashionlib import notebook, train
from fashionlib.core import paths
from fashionlib.reproduce import plan
from fashionlib.train import Recipe

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
NAMES = [
    *("00_the_paper", "01_raw_data", "02_prepare", "03_train"),
    *("04_validation_curves", "05_test_metrics", "06_background_removal", "07_beyond_the_paper"),
    "08_your_own_photos",
    "09_look_inside",
]
MAX_LINES = 12  # of a cell; the first, of imports, and the parameters are lists, a line each
MAX_PARAMETERS, MAX_IMPORTS = 21, 16
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path):
    return nbformat.read(path, as_version=4).cells


def code(path):
    return [cell for cell in cells(path) if cell.cell_type == "code"]


def test_these_are_all():
    assert [path.stem for path in NOTEBOOKS] == NAMES == list(plan.FILES)


def committed(path, scratch):
    """The notebook as git would commit it, through the filter if there is one; elsewhere as it is."""
    git = ["git", "-C", paths.PROJECT]
    options = dict(env={**os.environ, "GIT_OBJECT_DIRECTORY": str(scratch)}, capture_output=True, text=True)
    hashed = subprocess.run([*git, "hash-object", "-w", path], **options)
    if hashed.returncode:
        return path.read_text(encoding="utf-8")
    return subprocess.run([*git, "cat-file", "blob", hashed.stdout.strip()], check=True, **options).stdout


@each
def test_committed_without_outputs_and_with_a_kernel(path, tmp_path):
    found = nbformat.reads(committed(path, tmp_path), as_version=4)
    mend = f"git would commit outputs: run `make setup`, or `.venv/bin/nbstripout --keep-id {path}`"
    cells = [cell for cell in found.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells), mend
    assert found.metadata.kernelspec.name == "python3"


def as_saved_by_lab(path):
    """Run and saved: outputs, counts and times in the cells, the interpreter in the metadata."""
    content = json.loads(path.read_text())
    for number, cell in enumerate(cell for cell in content["cells"] if cell["cell_type"] == "code"):
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]
        cell["execution_count"] = number + 1
        cell["metadata"] |= {"execution": {"iopub.status.busy": "2026"}, "scrolled": True, "trusted": True}
        cell["metadata"] |= {"editable": True, "slideshow": {"slide_type": ""}}
    mode = {"name": "ipython", "version": 3}
    content["metadata"]["language_info"] |= {"version": "3.11.9", "mimetype": "x", "codemirror_mode": mode}
    content["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    path.write_text(json.dumps(content))


@pytest.mark.skipif(not (shutil.which("git") and shutil.which("make")), reason="needs git and make")
def test_a_notebook_that_lab_saved_is_no_change_for_git(tmp_path):
    (tmp_path / "notebooks").mkdir()
    lesson = "notebooks/03_train.ipynb"
    for name in ("Makefile", ".gitattributes"):
        shutil.copyfile(paths.PROJECT / name, tmp_path / name)
    (tmp_path / "objects").mkdir()
    (tmp_path / lesson).write_text(committed(paths.PROJECT / lesson, tmp_path / "objects"))
    make = ["make", "-C", tmp_path, "git-filter"]
    subprocess.run(make, check=True, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    as_saved_by_lab(tmp_path / lesson)

    def changed():
        done = subprocess.run(["git", "diff", "--name-only"], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout.split()

    assert changed() == [lesson]  # no filter yet
    subprocess.run(make, check=True)
    assert changed() == []
    (tmp_path / lesson).write_text((tmp_path / lesson).read_text().replace("parameters", "values"))
    assert changed() == [lesson]


@each
def test_opens_with_its_name_and_what_it_reads_and_writes(path):
    first = cells(path)[0].source
    assert first.startswith(f"# {path.stem[:2]} · ")
    assert "\n**Reads** " in first and "\n**Writes** " in first


def named_in(path):
    """What a module can be asked for by name: itself, and all that its top level defines or imports."""
    found = {path.stem, path.parent.name}
    for node in ast.parse(path.read_text()).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        found |= {getattr(node, "name", "")} | {
            alias.asname or alias.name for alias in getattr(node, "names", ())
        }
    return found


@each
def test_links_to_code_name_what_is_there(path):
    text = "\n".join(cell.source for cell in cells(path) if cell.cell_type == "markdown")
    for names, target in re.findall(r"\[((?:`[\w.]+`(?:, )?)+)\]\((\.\./[^)]+\.py)\)", text):
        called = {name.removesuffix(".py").split(".")[-1] for name in re.findall(r"[\w.]+", names)}
        assert called <= named_in(path.parent / target), f"{names} is not in {target}"


@each
def test_short_cells_with_a_sentence_before_each(path):
    before = "markdown"
    for cell in cells(path)[1:]:
        if cell.cell_type == "code":
            parameters, first = "parameters" in cell.metadata.get("tags", ()), cell.id == code(path)[0].id
            limit = MAX_PARAMETERS if parameters else MAX_IMPORTS if first else MAX_LINES
            assert len(cell.source.splitlines()) <= limit, cell.source
            assert before == "markdown" or first, cell.source
        before = cell.cell_type
    assert 8 <= len(code(path)) <= 25


@each
def test_the_library_does_and_the_notebook_tells(path):
    for cell in code(path):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda) for node in nodes)


@each
def test_parameters_are_typed_commented_and_checked(path):
    tagged = [i for i, cell in enumerate(code(path)) if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1
    assert re.match(r"notebook.check_parameters\(\s*globals\(\)", code(path)[tagged[0] + 1].source)
    found = papermill.inspect_notebook(str(path))
    assert {
        name: ast.literal_eval(what["default"]) for name, what in found.items()
    } == plan.parameter_defaults(path.stem)
    for parameter in found.values():
        assert parameter["inferred_type_name"] in ("str", "int", "float", "bool", "list", "dict")
        assert parameter["help"], parameter


DECLARED = "epochs: int = None  # None: the preset's\nlr: float = 0.1\nslow: bool = False\nmore: dict = None"


def check(injected, **allowed):
    """`check_parameters` as a notebook of a magic, a parameters cell and what papermill adds has it."""
    cells = ["", "%matplotlib inline", DECLARED, f"# Parameters\n{injected}", "notebook.check_parameters(…)"]
    scope = {"In": cells}
    for text in (DECLARED, injected):
        exec(text, scope)
    notebook.check_parameters(scope, **allowed)


@pytest.mark.parametrize("injected", ["", "epochs = 3", "epochs = None", "lr = 1", "slow = True\nlr = 1e-4"])
def test_check_parameters_lets_good_ones_pass(injected):
    check(injected)


@pytest.mark.parametrize(
    "injected, sentence",
    [
        ("epochz = 9", "Unknown parameter 'epochz'. Did you mean 'epochs'?"),
        ("epochs = 2.5", "Parameter epochs = 2.5 is not int or None."),
        ("epochs = True", "Parameter epochs = True is not int or None."),
        ("lr = None", "Parameter lr = None is not float."),
        (
            "slow = 'true'",
            "Parameter slow = 'true' is not bool. papermill reads Python's words: -p slow True.",
        ),
        ("more = {'lr': 3, 'a': 1}", "more holds lr, a parameter of its own: say -p lr … instead."),
        ("more = '{a: 1}'", "is not dict or None. papermill reads a dict as YAML: -y 'more: …'."),
    ],
)
def test_check_parameters_names_the_bad_one(injected, sentence):
    with pytest.raises(ValueError) as error:
        check(injected)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "injected, sentence",
    [
        ("names = ['a', 'x']", "Unknown names 'x'. Known: 'a', 'b'."),
        ("share = -0.1", "Parameter share = -0.1 must be between 0 and 1."),
        ("share = float('nan')", "Parameter share = nan must be between 0 and 1."),
        ("seed = -1", "Parameter seed = -1 must be at least 0."),
        ("names = ['b']\nshare = 1\nseed = None", ""),
    ],
)
def test_check_parameters_knows_what_is_allowed(injected, sentence, monkeypatch):
    declared = "names: list = None\nshare: float = 0.5\nseed: int = None"
    monkeypatch.setattr(sys.modules[__name__], "DECLARED", declared)
    with pytest.raises(ValueError) if sentence else nullcontext() as error:
        check(injected, names=("a", "b"), share=(0, 1), seed=(0, None))
    assert not sentence or str(error.value) == sentence


def test_a_bad_variant_is_refused_before_anything_is_timed():
    with pytest.raises(ValueError, match="'unet-mini-none-a/b' can't name a folder"):
        plan.recipe({"model": "unet", "data": "sample", "variant": "a/b"})
    with pytest.raises(ValueError, match="can't name a folder"):
        Recipe.from_preset("quick", model="unet", data="sample", variant="a/b")


def test_missing_data_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`fashionlib sample`"):
        notebook.require_prepared("sample")
    with pytest.raises(FileNotFoundError, match="`fashionlib prepare raw/ccp data/ccp`"):
        notebook.require_prepared("ccp")
    with pytest.raises(FileNotFoundError, match="fashionlib convert ccp SRC"):
        notebook.require_raw("ccp")


def test_the_sample_is_unpacked_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    raw_folder = notebook.require_raw("sample")
    assert len([*raw_folder.glob("train/*.jpg")]) == 400 and (raw_folder / "train.csv").is_file()


@pytest.fixture
def live(tmp_path, monkeypatch):
    """Live curves of a run, the figures that they show, and a function that trains an iteration of it."""
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    curves = notebook.LiveCurves(Recipe.from_preset("quick", model="unet", data="tiny"), every=1000)
    shown = []
    handle = SimpleNamespace(update=shown.append)
    monkeypatch.setattr(IPython.display, "display", lambda figure, **_: shown.append(figure) or handle)
    curves.history.parent.mkdir(parents=True)
    curves.history.write_text("epoch,iter,loss_decode,acc\n")

    def train(iteration):
        with curves.history.open("a") as history:
            history.write(f"1,{iteration},2.5,{iteration}\n")
        curves({})

    return curves, shown, train


def points(figure):
    return [list(axes.lines[0].get_xdata()) for axes in figure.axes]


def test_live_curves_are_drawn_at_most_once_in_a_while_and_at_the_end(live):
    curves, shown, train = live
    with curves:
        for iteration in range(1, 50):
            train(iteration)
    assert [len(points(figure)[0]) for figure in shown] == [1, 49]
    assert shown[0].axes[0].lines[0].get_marker() == "."  # a line through one point is not to be seen
    assert [axes.get_ylabel() for axes in shown[0].axes] == ["loss [nats per pixel]", "pixel accuracy [%]"]
    assert shown[1].get_suptitle() == "epoch 1 of 10, iteration 49"
    assert list(shown[1].axes[1].lines[0].get_ydata()) == list(range(1, 50))


def test_live_curves_show_all_points_after_a_stop_and_those_of_before_when_resumed(live):
    curves, shown, train = live
    with pytest.raises(KeyboardInterrupt), curves:
        train(1)
        train(2)
        raise KeyboardInterrupt
    assert points(shown[-1]) == [[1, 2]] * 2
    with notebook.LiveCurves(curves.recipe):  # finished, or in other processes: nothing calls it
        pass
    assert len(shown) == 3 and points(shown[-1]) == [[1, 2]] * 2
    with notebook.LiveCurves(curves.recipe) as curves:
        curves.history.write_text(curves.history.read_text() + "1,3,2.5,3\n")
        curves({})
    assert points(shown[-1]) == [[1, 2, 3]] * 2


def test_live_curves_of_a_refused_run_are_not_drawn(live):
    curves, shown, _ = live
    with pytest.raises(ValueError), curves:
        raise ValueError("holds another run")
    assert not shown


def test_a_training_shows_no_bar_before_its_first_second(capsys):
    """In a notebook it would stand above the curves, at 0 %, for good."""
    with train.run._bar(Recipe.from_preset("quick", model="unet", data="tiny"), 10, progress=True):
        assert capsys.readouterr().err == ""
