"""Inputs and outputs of a batch: names, places, and what is not ours."""

import os
from pathlib import Path

import cutout_stub
import pytest
from cutout_stub import files_below, report, scene
from PIL import Image

from fashionlib.cutout import batch

folder, model = cutout_stub.folder, cutout_stub.model  # fixtures


def test_names_that_collide_are_refused_before_anything_is_written(folder, model, tmp_path):
    out = tmp_path / "out"
    Image.fromarray(scene()).save(folder / "A.webp")
    with pytest.raises(ValueError, match="would both become"):
        batch.run(folder, out, model, progress=False)
    (folder / "A.webp").rename(folder / "preview.webp")
    with pytest.raises(ValueError, match="preview.webp would become .*that name is taken"):
        batch.run(folder, out, model, progress=False)
    with pytest.raises(ValueError, match="would both become"):
        batch.run([folder / "a.png", folder / "sub" / "a.jpg"], out, model, progress=False)
    assert not out.exists()


@pytest.mark.parametrize(
    ("photos", "out", "more"),
    [
        ("in", "in/cut", {}),
        ("in", "in", {}),
        ("in/sub", "in", {}),
        ("in/a.png", "in", {}),
        ("in/*.png", "in", {}),
        ("in", "link/cut", {}),
        ("link", "in/sub", {}),
        ("in/a.png", "masks", {"mask_in": "masks/a.png"}),
        ("in/a.png", "sub", {"apply_to": ["sub/b.png"]}),
        ("in/a.png", "sub", {"background": "sub/b.png"}),
    ],
)
def test_inputs_and_output_lie_apart(folder, tmp_path, monkeypatch, photos, out, more):
    (tmp_path / "link").symlink_to(folder)
    for name in ("masks/a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(scene()).save(tmp_path / name)
    before = files_below(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="are the same, or one lies in the other: choose another place"):
        batch.run(photos, out, "no model is loaded", progress=False, **more)
    assert files_below(tmp_path) == before


def test_a_folder_of_somebody_else_is_left_alone(folder, model, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("my own drawing")
    with pytest.raises(ValueError, match="out holds 'a.png' and nothing that shows cut-outs of ours"):
        batch.run(folder, out, "no model is loaded", progress=False)
    (out / "a.png").unlink()
    (out / ".report.12.fashionlib.part.csv").touch()  # of a run that was killed at once
    batch.run(folder / "sub", out, model, progress=False)
    (out / "text.png").write_text("my own drawing")
    with pytest.raises(ValueError, match="out/text.png is not in report.csv, so not of ours: move it"):
        batch.run(folder, out, model, progress=False)
    assert set(files_below(out)) == {"a.png", "report.csv", "text.png"}
    assert (out / "text.png").read_text() == "my own drawing"
    (out / "text.png").unlink()
    assert batch.run(f"{folder}/**/*.jpg", tmp_path / "more", model, progress=False).done == 1


def test_the_output_has_to_be_a_folder(folder, tmp_path):
    for out in (folder / "notes.txt", folder / "notes.txt" / "below"):
        with pytest.raises(ValueError, match="notes.txt is no folder: choose another name"):
            batch.run(folder / "sub", out, "no model is loaded", progress=False)


HEAD = "output,source,status,quality,reasons,note,width,height,kept,seconds,key\n"


@pytest.mark.parametrize("content", [
    b"mine,yours\n1,2\n", b"\xff\xfe\x00garbage", b"", HEAD.encode() + b"a.png,a,done,much,,,1,1,1,0,k\n",
    HEAD.encode() + b"a.png,a,lost,1,,,1,1,1,0,k\n", HEAD.encode() + b"a.png,a,done,1,,,1,1,1,0,k,l\n",
    HEAD.encode() + b'"' + 200_000 * b"a",
])  # fmt: skip
def test_a_foreign_report_is_named_and_not_overwritten(folder, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.csv").write_bytes(content)
    with pytest.raises(ValueError, match="report.csv is not a report of cut-outs.*choose another folder"):
        batch.run(folder, tmp_path / "out", "no model is loaded", progress=False)
    assert files_below(tmp_path / "out") == {"report.csv": content}


def test_what_cannot_be_read_in_a_folder_is_a_failed_row(folder, model, tmp_path, monkeypatch):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone").symlink_to("nowhere")
    (folder / "back").symlink_to(folder)
    (folder / "locked").mkdir()
    scandir = os.scandir

    def locked(path):  # nothing is locked to root
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    for _ in range(2):
        result = batch.run(folder, tmp_path / "out", model, progress=False)
    assert (result.done, result.skipped, result.failed) == (0, 2, 7)
    notes = {name: row["note"] for name, row in report(result).items() if row["status"] == "failed"}
    for name, words in {
        "pipe.png": "pipe.jpg can't be read: it is a pipe or a device",
        "locked": "can't be read: Permission",
        "loop.png": "loop.jpg can't be read: Too many levels of symbolic",
        "gone.png": "is a link that leads",
        "back": "back can't be read: it is a link to a directory: name it as an input of its own",
    }.items():
        assert words in notes[name]


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("-", "'-' is no path"),
        ("", "'' is no path"),
        ("/dev/zero", "/dev/zero is a pipe or a device"),
        ("pipe", "pipe is a pipe or a device"),
        ("loop", "loop is a link that leads nowhere"),
    ],
)
def test_inputs_that_are_no_files_are_called_what_they_are(tmp_path, monkeypatch, item, sentence):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Image.fromarray(scene()).save("a.png")
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        batch.run(item, "out", "no model is loaded", progress=False)
    with pytest.raises((ValueError, FileNotFoundError), match="The mask .* is "):
        batch.run("a.png", "out", "no model is loaded", mask_in=item or "-", progress=False)


def test_names_that_are_no_utf_8_are_cut_out_like_the_others(model, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    Image.fromarray(scene()).save(folder / os.fsdecode(b"r\xf4be.png"))
    (folder / os.fsdecode(b"sub \xff")).mkdir()
    (folder / os.fsdecode(b"sub \xff") / "torn.jpg").write_text("no photo")
    Image.fromarray(scene()).save(folder / "b.png")
    out = tmp_path / os.fsdecode(b"\xfcber")
    for done, skipped in [(2, 0), (0, 2)]:
        result = batch.run(folder, out, model, preview=True, progress=False)
        assert result[:3] == (done, skipped, 1)
    rows = report(result)
    assert set(rows) == {r"r\xf4be.png", "b.png", r"sub \xff/torn.png"}
    assert rows["b.png"]["source"] == rf"{tmp_path}/caf\xe9/b.png"
    assert r"caf\xe9/sub \xff/torn.jpg is not an image" in result.reasons[0]
    assert (out / r"r\xf4be.png").is_file()
