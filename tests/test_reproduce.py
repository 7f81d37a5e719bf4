"""Plans, the order and skipping of steps, failures; and all notebooks on a few drawn photos."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import exercises
import nbformat
import pytest
import readme_commands
from nbformat import v4
from soak import WATCHDOG

from fashionlib import reproduce
from fashionlib.core import paths
from fashionlib.data.prepare import prepare
from fashionlib.data.splits import stratify_by_default
from fashionlib.reproduce import plan
from tools import draw_sample

RUN = "segmenter_vit_t-mini-none-4photos"
TINY = {
    "03_train": [{"model": "segmenter_vit_t", "epochs": 1, "batch": 4, "photos": 4}],
    "06_background_removal": {"count": 2},
    "07_beyond_the_paper": {"first": "none"},  # no study of that name: it reads the stored ones
    "08_your_own_photos": {"photos": 10, "epochs": 1},
}


# ---------------------------------------------------------------- plans


def write(folder, text):
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


def test_without_a_file_the_plan_is_the_papers_four(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    runs = plan.read("mine")["03_train"]
    assert [run["model"] for run in runs] == ["segmenter_vit_t", "segmenter_vit_b", "setr_mla", "setr_pup"]


def test_models_choose_from_the_plan_and_overrides_go_to_every_run(tmp_path):
    path = write(
        tmp_path, "03_train:\n- {model: unet, epochs: 3}\n- {model: setr_mla}\n05_test_metrics: {seed: 1}"
    )
    found = plan.read("mine", path, ["unet", "setr_pup"], {"preset": "paper"})
    assert found["05_test_metrics"] == {"seed": 1}
    assert found["03_train"] == [
        {"model": "unet", "epochs": 3, "preset": "paper"},
        {"model": "setr_pup", "preset": "paper"},
    ]


def test_steps_are_the_notebooks_in_order_and_know_the_runs():
    found = plan.steps("sample", {"03_train": [{"model": "unet"}, {"model": "setr_mla", "variant": "b"}]})
    assert [step.name for step in found] == [
        "00_the_paper",
        "01_raw_data",
        "02_prepare",
        "03_train.unet-mini-none",
        "03_train.setr_mla-mini-none-b",
        "04_validation_curves",
        "05_test_metrics",
        "06_background_removal",
        "07_beyond_the_paper",
        "08_your_own_photos",
        "09_look_inside",
    ]
    assert found[5].parameters == {"data": "sample", "runs": ["unet-mini-none", "setr_mla-mini-none-b"]}
    assert "runs/sample/unet-mini-none/epoch_*.safetensors" in found[5].reads
    assert found[3].writes == (
        "runs/sample/unet-mini-none/history.csv",
        "runs/sample/unet-mini-none/done.json",
    )


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("03_train: [{model: unett}]", "Unknown model 'unett'. Did you mean 'unet'?"),
        ("03_train: [{model: unet, epochs: 0}]", "epochs=0: must be a whole number above 0."),
        ("02_prepare: {sede: 1}", "Unknown parameter of 02_prepare 'sede'. Did you mean 'seed'?"),
        ("03_train: [{model: unet}, {model: unet}]", "both be unet-mini-none: give one of them a `variant`."),
    ],
)
def test_a_slip_in_a_plan_is_one_sentence_before_anything_runs(tmp_path, text, sentence):
    with pytest.raises(ValueError) as error:
        plan.steps("sample", plan.read("sample", write(tmp_path, text)))
    assert sentence in str(error.value)


def test_committed_plans_can_be():
    for path in (paths.PROJECT / "results").glob("*/plan.yaml"):
        plan.steps(path.parent.name, plan.read(path.parent.name))


# ---------------------------------------------------------------- steps


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A step of a notebook of two cells that copies in.txt to out.txt; `toy(code)` puts other code there."""
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(reproduce, "library", lambda: "as it is")
    (tmp_path / "in.txt").write_text("1")

    def make(
        code="home.joinpath('out.txt').write_text(home.joinpath('in.txt').read_text() * times)", times=1
    ):
        cells = [v4.new_code_cell("times: int = 1  # how often"), v4.new_code_cell(code)]
        cells[0].source = f"from pathlib import Path\nhome = Path({str(tmp_path)!r})\n" + cells[0].source
        cells[0].metadata["tags"] = ["parameters"]
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(v4.new_notebook(cells=cells, metadata=spec), tmp_path / "toy.ipynb")
        return plan.Step("toy.step", "toy", {"times": times}, ("in.txt",), ("out.txt",))

    return make


def test_a_step_runs_once_until_something_it_depends_on_changes(toy, tmp_path, monkeypatch):
    def current(**given):
        return reproduce.is_up_to_date(toy(**given), "d")

    assert not current(times=2)
    reproduce.run(toy(times=2), "d")
    assert (tmp_path / "out.txt").read_text() == "11"
    assert (tmp_path / "runs/d/notebooks/toy.step.ipynb").is_file()
    assert current(times=2) and not current(times=3) and not current(code="pass", times=2)
    for name, text in (("in.txt", "1"), ("out.txt", "11")):
        (tmp_path / name).write_text("2")
        assert not current(times=2)
        (tmp_path / name).write_text(text)
        assert current(times=2)
    (tmp_path / "out.txt").unlink()
    assert not current(times=2)
    (tmp_path / "out.txt").write_text("11")
    monkeypatch.setattr(reproduce, "library", lambda: "changed")
    assert not current(times=2)


@pytest.mark.parametrize(
    "code, sentence",
    [
        (
            "#papermill_description=Dog\nx = 1\nif x:\n    open('no such file')\nprint(x)",
            "toy.step stopped in cell [3] (`x = 1`) at line 4, `open('no such file')`: FileNotFoundError",
        ),
        (
            "import os; os._exit(3)",
            "cell [3] (`import os; os._exit(3)`): exit code 1, nbclient.exceptions.DeadKernelError",
        ),
        ("pass", "out.txt is missing"),
        ("home.joinpath('out.txt').touch()", "out.txt is empty"),
    ],
)
def test_a_failed_step_names_cell_and_reason_and_is_not_stamped(toy, tmp_path, code, sentence):
    step = toy(code)
    with pytest.raises(reproduce.StepFailed) as error:
        reproduce.run(step, "d")
    assert sentence in str(error.value)
    assert (tmp_path / "runs/d/notebooks/toy.step.ipynb").is_file()
    assert not (tmp_path / "runs/d/stamps").exists()


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_error_of_ours_is_a_sentence_and_the_line_of_the_cell(toy, tmp_path, monkeypatch, debug):
    monkeypatch.setenv("FASHION_DEBUG", debug)
    code = "from fashionlib import notebook as n\nn.short_errors(get_ipython())\nn.require_raw('none')"
    with pytest.raises(reproduce.StepFailed, match=r" at line 3, `n.require_raw\('none'\)`: FileNotFound"):
        reproduce.run(toy(code), "d")
    cells = nbformat.read(tmp_path / "runs/d/notebooks/toy.step.ipynb", as_version=4).cells
    *folds, error = cells[-1].outputs
    assert error.output_type == "error"
    if debug:
        assert any("require_raw" in frame for frame in error.traceback) and not folds
    else:
        where, line, _, sentence = error.traceback
        assert (where, line) == ("Cell In[3], line 3", "----> 3 n.require_raw('none')")
        assert sentence.startswith("FileNotFoundError: No raw data in ")
        assert ", in require_raw" in folds[0].data["text/html"]


CLI = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what nohup or & had ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from fashionlib import cli, reproduce
from fashionlib.core import paths
from fashionlib.reproduce import plan
paths.NOTEBOOKS = paths.home()
reproduce.library = lambda: ""
reproduce.require_raw = lambda *_: None
reproduce.steps = lambda *_: [plan.Step("toy", "01_toy", {}, (), ())]
cli.main(["reproduce", "--data", "d", "--plan", "plan.yaml"])
"""
WAITS = """
import socket, threading
told = socket.create_connection(("127.0.0.1", {port}))  # the end of it is that of this process
try:
    told.sendall(b"begun\\n")  # within: a stop may come at once
    threading.Event().wait(60)
    told.sendall(b"went on\\n")
except KeyboardInterrupt:
    told.sendall(b"saved\\n")
    raise
"""


@contextmanager
def reproducing(toy, tmp_path, program: list[str]):
    """``fashionlib reproduce`` of a notebook that waits: the process, and what its kernel tells."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(120)  # for a test that fails instead of hanging
    toy(WAITS.format(port=listener.getsockname()[1]))
    (tmp_path / "toy.ipynb").rename(tmp_path / "01_toy.ipynb")
    write(tmp_path, "03_train: [{model: unet}]")
    (tmp_path / "fashionlib").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{CLI}'\n")
    (tmp_path / "fashionlib").chmod(0o755)
    with (
        subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process,
        listener,
        listener.accept()[0].makefile() as told,
    ):
        assert told.readline() == "begun\n"
        yield process, told


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP], ids=lambda how: how.name)
def test_a_stop_stops_the_notebook_after_it_has_saved(toy, tmp_path, how):
    with reproducing(toy, tmp_path, [tmp_path / "fashionlib"]) as (process, told):
        process.send_signal(how)
        assert told.read() == "saved\n"  # all of it: the kernel is gone
        assert "Error: Stopped. Run the same command again to go on.\n" in process.stderr.read()
        assert process.wait() == 1


def test_a_killed_reproduce_takes_the_notebook_along(toy, tmp_path):
    with reproducing(toy, tmp_path, [tmp_path / "fashionlib"]) as (process, told):
        process.kill()
        assert told.read() in ("", "saved\n")


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_stopped_make_stops_the_notebook(toy, tmp_path):
    for stamp in ("venv/.ready", "data/sample/dataset.json"):
        (tmp_path / stamp).parent.mkdir(parents=True)
        (tmp_path / stamp).touch()
    makefile = paths.PROJECT / "Makefile"
    words = ["make", "-f", makefile, "-o", "pyproject.toml", "-o", "constraints.txt", "reproduce"]
    words += [f"VENV={tmp_path}/venv", f"FASHIONLIB={tmp_path}/fashionlib"]
    with reproducing(toy, tmp_path, words) as (process, told):
        process.terminate()
        assert told.read() == "saved\n"
        assert "Error: Stopped. Run the same command again to go on.\n" in process.stderr.read()
        assert process.wait()


def test_a_notebook_that_does_not_stop_is_killed(toy, tmp_path, monkeypatch):
    deaf = WAITS.replace("try:", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\ntry:")
    monkeypatch.setattr(sys.modules[__name__], "WAITS", deaf)
    hasty = CLI.replace("cli.main", "reproduce.PATIENCE = 0\ncli.main")
    monkeypatch.setattr(sys.modules[__name__], "CLI", hasty)
    with reproducing(toy, tmp_path, [tmp_path / "fashionlib"]) as (process, told):
        process.terminate()
        assert told.read() == ""


def test_raw_data_that_we_cannot_make_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="No raw data in"):
        reproduce.require_raw("imaterialist")


# ---------------------------------------------------------------- the notebooks as programs


@pytest.fixture(scope="module")
def tiny_home(tmp_path_factory):
    """A home with 30 drawn photos, prepared."""
    home = tmp_path_factory.mktemp("home")
    raw = draw_sample.make(home / "raw/sample", photos=30, workers=1, progress=False)
    prepare(raw, home / "data/sample", stratify=stratify_by_default("sample"), workers=1, progress=False)
    return home


def papermill(home, *words):
    """``papermill notebooks/03_train.ipynb …`` with its output captured, as a script has it."""
    command = [sys.executable, "-m", "papermill", str(paths.NOTEBOOKS / "03_train.ipynb"), *map(str, words)]
    command += ["--start-timeout", str(WATCHDOG)]
    return subprocess.run(
        command, env={**os.environ, "FASHION_HOME": str(home)}, capture_output=True, text=True
    )


def test_all_notebooks(tiny_home, tmp_path, monkeypatch):
    """And, in each one's namespace, the solutions of its exercises."""
    monkeypatch.setenv("FASHION_HOME", str(tiny_home))
    monkeypatch.setattr(paths, "NOTEBOOKS", exercises.solved(tmp_path / "notebooks"))
    monkeypatch.setattr(reproduce, "library", lambda: "as it is")
    done = reproduce.reproduce("sample", TINY)
    assert [name[:2] for name in done] == [f"{number:02}" for number in range(10)]
    assert (tiny_home / "runs/sample" / RUN / "epoch_1.safetensors").is_file()
    assert (tiny_home / "runs/sample/results/table1.csv").is_file()
    assert reproduce.reproduce("sample", TINY) == []


def test_papermill_trains_with_an_output_path(tiny_home, tmp_path):
    given = ("-p", "model", "unet", "-p", "epochs", 1, "-p", "batch", 4, "-p", "photos", 4)
    done = papermill(tiny_home, tmp_path / "03.{model}.ipynb", *given)
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(tmp_path / "03.unet.ipynb", as_version=4).cells
    texts = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", ()))
    assert texts.startswith("unet (mini-UNet-S5-D16) at scale mini from none on sample, 4 training photos")
    assert "This is not the paper's run." in texts.splitlines()[0]
    assert (tiny_home / "runs/sample/unet-mini-none-4photos/epoch_1.safetensors").is_file()


def test_readmes_papermill_commands_train_and_find_a_finished_run_finished(tiny_home, tmp_path):
    """As printed but for the length: one in a terminal, then the other with its output captured."""
    (tmp_path / "notebooks").symlink_to(paths.NOTEBOOKS)
    (tmp_path / "results").mkdir()
    terminal, script = readme_commands.trainings()
    assert ">" in script and ">" not in terminal
    histories = []
    for command in (terminal, script):
        command = readme_commands.of_model(command, "setr_pup -p epochs 1 -p batch 4 -p photos 4")
        code, said = readme_commands.run(command, tmp_path, tiny_home)
        assert code == 0, said
        histories.append((tiny_home / "runs/sample/setr_pup-mini-none-4photos/history.csv").read_bytes())
    assert histories[0] == histories[1]
    cells = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
    assert (tmp_path / "results/03_train.setr_pup.ipynb").is_file()


def test_an_unknown_parameter_stops_a_piped_papermill(tiny_home):
    done = papermill(tiny_home, "-p", "epochz", 1)
    assert done.returncode == 1
    said = "ValueError: Unknown parameter 'epochz'. Did you mean 'epochs'?"
    assert said in done.stderr and "in check_name" not in done.stderr


def test_without_data_the_notebook_names_the_command(tmp_path):
    done = papermill(tmp_path, "-p", "model", "setr_pup")
    assert done.returncode == 1
    assert "make it with `fashionlib sample`" in done.stderr
