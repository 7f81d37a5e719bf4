"""Exported graphs: the logits of the model, what the file says of itself, a sentence for each mistake."""

import importlib.util
import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from fashionlib import export, models
from fashionlib.cli import main
from fashionlib.core.classes import CLASSES


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with two epochs of a small SETR, the first of them picked."""
    folder = tmp_path_factory.mktemp("runs") / "data" / "setr_pup-mini-none"
    torch.manual_seed(0)
    model = models.build("setr_pup", scale="mini")
    info = models.metadata_for("setr_pup", CLASSES, "mini") | dict(data="sample", class_set="main")
    for epoch in (1, 2):
        models.save(model, folder / f"epoch_{epoch}.safetensors", info | dict(epoch=epoch))
    (folder.parent / "results").mkdir()
    (folder.parent / "results" / "picked_epochs.csv").write_text(f"run,epoch\n{folder.name},1\n")
    return folder


@pytest.fixture(scope="module")
def exported(run):
    out = run.parent / "window.onnx"
    result = CliRunner().invoke(main, ["export", str(run), str(out)])
    assert result.exit_code == 0, result.output
    assert "photos of 128 x 128" in result.output
    return out


def properties(path) -> dict:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_graph_gives_our_logits_for_any_number_of_photos(run, exported):
    model = models.load(run / "epoch_1.safetensors")
    photos = np.random.default_rng(1).integers(0, 256, (3, 128, 128, 3), np.uint8)
    (theirs,) = export.session(exported).run(None, {"photos": photos})
    assert theirs.shape == (3, 28, 128, 128) and theirs.dtype == np.float32
    for photo, given in zip(photos, theirs, strict=True):  # ours normalises by itself
        np.testing.assert_allclose(
            given, models.upsampled_logits(model, photo, "fp32"), atol=1e-4 * theirs.std()
        )


def test_the_file_says_what_it_holds(exported):
    facts = properties(exported)
    assert json.loads(facts["classes"]) == list(CLASSES) and json.loads(facts["size"]) == [128, 128]
    assert (facts["model"], facts["scale"], facts["data"]) == ("setr_pup", "mini", "sample")
    assert json.loads(facts["mean"]) == [123.675, 116.28, 103.53]
    assert "uint8 RGB" in facts["input"] and "THIRD_PARTY.md" in facts["terms"]
    onnx.checker.check_model(exported)


def test_a_run_gives_its_picked_epoch_and_its_last_while_none_is_picked(run, exported, tmp_path):
    assert properties(exported)["epoch"] == "1"
    bare = shutil.copytree(run, tmp_path / "alone" / run.name)
    export.export(bare, tmp_path / "last.onnx")
    assert properties(tmp_path / "last.onnx")["epoch"] == "2"


def test_only_a_graph_of_ours_is_replaced(run, tmp_path):
    out = tmp_path / "out.onnx"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="out.onnx exists and is not an exported graph of ours"):
        export.export(run, out)
    with pytest.raises(FileExistsError, match="are the same, or one lies in the other"):
        export.export(run, run / "epoch_1.safetensors")
    out.unlink()
    for _ in range(2):
        export.export(run, out, (64, 64))


def test_another_size_and_the_size_of_whole_image_inference(run, tmp_path):
    model = models.load(run / "epoch_1.safetensors")
    done = export.export(model, tmp_path / "wide.onnx", (64, 96))
    assert done.size == (64, 96) and 0 <= done.difference < 1e-3 * done.spread
    whole = dict(model.metadata, crop=[96, 64], resize=[320, 80], test_cfg=dict(mode="whole"))
    assert export.own_size(whole) == (120, 80)


def test_mistakes_are_one_sentence_and_leave_no_file(run, tmp_path, monkeypatch):
    out = tmp_path / "out.onnx"
    with pytest.raises(ValueError, match="100 x 64 is not of whole patches of 8: try 96 64"):
        export.export(run, out, (100, 64))
    with pytest.raises(FileNotFoundError, match="No checkpoint at"):
        export.export(tmp_path / "none.safetensors", out)
    with pytest.raises(FileNotFoundError, match="No epoch_<n>.safetensors in"):
        export.export(tmp_path, out)
    monkeypatch.setattr(export, "_compare", lambda *_: (0.5, 1.0))
    with pytest.raises(ValueError, match="differ from torch's by up to 0.5"):
        export.export(run, out)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "onnxruntime" and found(name))
    with pytest.raises(ValueError, match=r"onnxruntime, which is not installed: pip install .*\[onnx\]"):
        export.export(run, out)
    assert not list(tmp_path.iterdir())
