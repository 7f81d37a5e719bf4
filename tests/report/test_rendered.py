"""Executed notebooks as they are committed: nothing in them that another run would have differently."""

import base64
import io
import json
import re
import subprocess

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from fashionlib.core import paths
from fashionlib.report import publish, rendered

PLAN = "03_train: [{model: b}, {model: a}]\n"
COMMITTED = sorted((paths.published_results("sample") / "notebooks").glob("*.ipynb"))
KINDS = dict(plain="text/plain", html="text/html", png="image/png", jpeg="image/jpeg")
KINDS["widget"] = "application/vnd.jupyter.widget-view+json"
COLUMNS = '<th></th><th id="T_{uuid}_col0">loss</th><th>seconds</th>'
NOISE = np.random.default_rng(0).integers(0, 256, (300, 1500, 3), np.uint8)


def png(pixels):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


def picture(forms):
    (kind,) = forms
    return kind, Image.open(io.BytesIO(base64.b64decode(forms[kind])))


def shown(**forms):
    return new_output("display_data", {KINDS[name]: value for name, value in forms.items()})


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def table(uuid, seconds, columns=COLUMNS):
    head = columns.format(uuid=uuid)
    return f'<table id="T_{uuid}"><tr>{head}</tr><tr><th>1</th><td>2.5</td><td>{seconds}</td></tr></table>'


def outputs(home, moment="05:47:32", seconds="0.21", uuid="80c10", **columns):
    """What a cell showed, as one machine or another, today or tomorrow."""
    return [
        printed(f"\r 50%|#  | 1/2 [{seconds}s]", "stderr"),
        printed(f"\r100%|###| 2/2 [{seconds}s]\n", "stderr"),
        printed(f"{home}/runs/sample/a.csv, /tmp/{uuid}/b.png\n"),
        printed(f"made 2026-11-28T{moment}+00:00 by <A at 0x7f{uuid}>; mIoU/aAcc, https://a.org/b/c\n"),
        shown(widget={"model_id": uuid}, plain="HBox()"),
        shown(html=table(uuid, seconds, **columns), plain="   loss  seconds"),
        shown(png=png(NOISE), jpeg="of the same", plain="<Image>"),
        shown(png=png(np.zeros((5, 8, 3), np.uint8)), plain="<Figure>"),
        shown(plain="3"),
    ]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Puts notebook ``00_a`` into a new project, and its executed copy with these outputs into the home."""
    monkeypatch.setenv("FASHION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "project" / "notebooks")
    copies = paths.runs_folder("sample") / "notebooks"
    for folder in (paths.NOTEBOOKS, paths.published_results("sample"), copies):
        folder.mkdir(parents=True)
    (paths.published_results("sample") / "plan.yaml").write_text(PLAN)

    def put(outputs, name="00_a", copy=None, parameters=(), code="look()", status="completed"):
        cells = [
            new_markdown_cell("[How](../README.md), [03](03_train.ipynb), <img src='../a.png'>", id="why"),
            new_code_cell('data = "sample"', id="set", metadata={"tags": ["parameters"]}),
            new_code_cell(code, id="look"),
            new_code_cell("time()", id="time", metadata={"tags": ["machine"]}),
        ]
        nbformat.write(new_notebook(cells=cells), paths.NOTEBOOKS / f"{name}.ipynb")
        injected = new_code_cell("# Parameters\n", metadata={"tags": ["injected-parameters"]})
        cells.insert(2, injected)
        cells[3].outputs, cells[4].outputs = outputs, [printed("0.3 s"), shown(png=png(NOISE))]
        for number, cell in enumerate(cells[1:], 1):
            cell.execution_count = number
            cell.metadata = {"tags": [], "papermill": {"duration": 0.1, "status": status}, **cell.metadata}
        papermill = {"parameters": {"data": "sample", **dict(parameters)}, "duration": 1.5}
        done = new_notebook(cells=cells, metadata={"papermill": papermill, "widgets": {"state": {}}})
        nbformat.write(done, copies / f"{copy or name}.ipynb")

    return put


def page(name="00_a.ipynb"):
    return nbformat.reads(rendered.pages("sample")[name], as_version=4)


def test_what_is_left_of_an_executed_notebook(execute):
    execute(outputs(paths.home()))
    made = page()
    nbformat.validate(made)
    assert made.metadata == {}
    assert [cell.id for cell in made.cells] == ["why", "set", "injected-parameters", "look", "time"]
    links = "[How](../../../README.md), [03](03_train.ipynb), <img src='../../../a.png'>"
    assert made.cells[0].source == links
    assert [cell.metadata for cell in made.cells[2:]] == [{}, {}, {"tags": ["machine"]}]
    assert made.cells[4].outputs == [printed("(measured on the machine: run it to see)\n")]
    text, columns, photo, figure, value = made.cells[3].outputs
    said = "runs/sample/a.csv, …/b.png\nmade … by <A at 0x…>; mIoU/aAcc, https://a.org/b/c\n"
    assert text == printed(said)
    head = "<tr><th></th><th>loss</th><th>seconds</th></tr>"
    assert columns == shown(html=f"<table>{head}<tr><th>1</th><td>2.5</td><td>…</td></tr></table>")
    kind, photo = picture(photo.data)
    assert (kind, photo.size) == ("image/jpeg", (1400, 280))
    mean = np.asarray(Image.fromarray(NOISE).resize(photo.size, Image.Resampling.LANCZOS), float).mean()
    assert np.asarray(photo).mean() == pytest.approx(mean, abs=2)
    assert figure.data == {"image/png": png(np.zeros((5, 8, 3), np.uint8))}  # a JPEG would be larger
    assert value == shown(plain="3")


def test_the_same_bytes_whenever_and_wherever_it_is_made_again(execute):
    execute(outputs(paths.home()))
    first = rendered.pages("sample")
    assert rendered.pages("sample") == first
    execute(outputs("/somewhere/else", moment="23:59:59.5", seconds="9.87", uuid="fffff"))
    second = rendered.pages("sample")
    assert {name: text.replace("…/a.csv", "runs/sample/a.csv") for name, text in second.items()} == first


def test_transparency_becomes_white(execute):
    clear = np.dstack([NOISE, np.zeros(NOISE.shape[:2], np.uint8)])
    execute([shown(png=png(clear))])
    (output,) = page().cells[3].outputs
    assert np.asarray(picture(output.data)[1]).min() == 255


def test_pictures_shrink_until_a_page_fits_and_one_that_cannot_is_named(execute, monkeypatch):
    execute([shown(png=png(NOISE))])
    monkeypatch.setattr(rendered, "LIMIT", 300_000)
    text = rendered.pages("sample")["00_a.ipynb"]
    assert len(text.encode()) <= 300_000
    assert picture(page().cells[3].outputs[0].data)[1].width < 1400
    monkeypatch.setattr(rendered, "LIMIT", 20_000)
    with pytest.raises(ValueError, match=r"^00_a.ipynb would have \d+ KB .*, more than 20: show fewer"):
        rendered.pages("sample")


def test_of_03_the_plans_first_run_and_no_copy_with_parameters_of_ones_own(execute):
    execute([printed("a")], "03_train", "03_train.a-mini-none", {"model": "a"})
    with pytest.raises(FileNotFoundError, match="No copy of 03_train in .* as results/sample/plan.yaml says"):
        rendered.pages("sample")
    execute([printed("b")], "03_train", "03_train.b-mini-none", {"model": "b"})
    assert page("03_train.ipynb").cells[3].outputs == [printed("b")]
    for given in ({"photos": "/my/photos"}, {"data": "ccp"}, {"runs": ["a"]}):
        execute([], "06_b", None, given)
        with pytest.raises(FileNotFoundError, match="No copy of 06_b"):
            rendered.pages("sample")
    execute([], "06_b", None, {"runs": ["a", "b"]})
    assert rendered.pages("sample").keys() == {"03_train.ipynb", "06_b.ipynb"}


def test_a_stopped_or_stale_copy_is_refused_but_prose_may_change(execute):
    refused = "00_a.ipynb has stopped, or 00_a.ipynb has changed since: run `fashionlib reproduce`"
    for status in ("failed", "running", "pending"):  # an error, a killed papermill, and what it did not reach
        execute([], status=status)
        with pytest.raises(ValueError, match=refused):
            rendered.pages("sample")
    execute([])
    for find, replace in (("[How]", "[Why]"), ("look()", "look(2)")):
        path = paths.NOTEBOOKS / "00_a.ipynb"
        path.write_text(path.read_text().replace(find, replace))
        if find == "[How]":
            assert page().cells[0].source.startswith("[Why]")
    with pytest.raises(ValueError, match=refused):
        rendered.pages("sample")


def test_publishing_makes_them_agree_and_other_data_publish_none(execute):
    execute(outputs(paths.home()))
    executed = (paths.runs_folder("sample") / "notebooks" / "00_a.ipynb").read_bytes()
    for data in ("sample", "ccp"):
        copies, results = paths.runs_folder(data) / "notebooks", paths.results_folder(data)
        copies.mkdir(parents=True, exist_ok=True)
        (copies / "00_a.ipynb").write_bytes(executed)
        results.mkdir()
        (results / "run.json").write_text("{}")
        publish.publish(data)
        publish.publish(data)
        assert publish.compare(data) == []
    folder = paths.published_results("sample") / "notebooks"
    assert {path.name: path.read_text() for path in folder.iterdir()} == rendered.pages("sample")
    assert not (paths.published_results("ccp") / "notebooks").exists()
    execute(outputs(paths.home()), "01_b")
    (paths.NOTEBOOKS / "00_a.ipynb").unlink()
    publish.publish("sample")
    assert [path.name for path in folder.iterdir()] == ["01_b.ipynb"]


def test_differences_are_of_code_pictures_and_columns_not_of_words_and_numbers(execute):
    execute([])
    assert rendered.differences("sample") == ["notebooks/00_a.ipynb is only here."]
    folder = paths.published_results("sample") / "notebooks"
    folder.mkdir()
    execute(outputs(paths.home()))
    (folder / "00_a.ipynb").write_text(rendered.pages("sample")["00_a.ipynb"])
    other = outputs(paths.home())
    other[2:4] = []  # prints
    other[5].data["image/png"] = png(NOISE[:, ::-1])
    execute(other)
    assert not rendered.differences("sample")
    changed = ["notebooks/00_a.ipynb: cell look has other code or outputs than committed."]
    execute(outputs(paths.home(), columns=COLUMNS.replace("loss", "accuracy")))
    assert rendered.differences("sample") == changed
    execute(outputs(paths.home())[:-3])
    assert rendered.differences("sample") == changed
    execute(outputs(paths.home()), code="look(2)")
    assert rendered.differences("sample") == changed


def test_git_takes_outputs_of_the_samples_notebooks_alone():
    names = [f"{folder}notebooks/00_a.ipynb" for folder in ("", "results/sample/", "results/ccp/")]
    command = ["git", "check-attr", "filter", "--", *names]
    said = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    if said.returncode:
        pytest.skip("not a git checkout")
    assert [line.split(": ")[-1] for line in said.stdout.splitlines()] == ["notebooks", "unset", "notebooks"]


def test_cells_that_print_what_they_measured_are_tagged():
    files = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
    cells = [cell for path in files for cell in nbformat.read(path, as_version=4).cells]
    measuring = [cell for cell in cells if re.search(r"train\.estimate\(|report\.costs\(", cell.source)]
    measuring = [cell for cell in measuring if cell.cell_type == "code"]
    assert len(measuring) >= 2 and all("machine" in cell.metadata.get("tags", ()) for cell in measuring)


@pytest.mark.skipif(not COMMITTED, reason="no executed notebook is committed yet")
def test_the_committed_ones_are_today_s_notebooks_small_and_without_a_machine_s_traces():
    sources = {path.name: path for path in paths.NOTEBOOKS.glob("*.ipynb")}
    assert sources.keys() == {path.name for path in COMMITTED}
    for path in COMMITTED:
        made, source = (nbformat.read(each, as_version=4) for each in (path, sources[path.name]))
        code, now = ([c.source for c in each.cells if c.cell_type == "code"] for each in (made, source))
        assert [text for text in code if not text.startswith("# Parameters\n")] == now, path
        assert path.stat().st_size <= rendered.LIMIT and any(cell.get("outputs") for cell in made.cells)
        shown = json.dumps([cell.get("outputs", []) for cell in made.cells], ensure_ascii=False)
        traces = r"/(home|root|tmp|work|Users)/|\d\d:\d\d:\d\d|it/s\]|vnd.jupyter.widget"
        assert not re.search(traces, shown), path
