"""Cut-outs without torch: the graph beside a checkpoint computes what the checkpoint does."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fashionlib import models
from fashionlib.cli.errors import sentence
from fashionlib.core import paths
from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import about, batch, edges, segment
from fashionlib.cutout.tasks import Options
from fashionlib.data import prepared
from fashionlib.models import graph
from tools.cutout_model import average
from tools.cutout_model.graph import write

PERSON = list(CLASS_SETS["person"])
CLOSER = {"first": [256, 64], "margin": 0.05, "pixels": 16_384, "share": 0.3}


def drawn(count: int) -> list[np.ndarray]:
    folder = paths.data_folder("sample")
    names = prepared.ids(folder, "test")[:count]
    return [np.asarray(Image.open(folder / f"images/{name}.jpg").convert("RGB")) for name in names]


def mini(folder, closer: dict):
    """A mini model of random weights that looks twice, in int8, with its graph beside it."""
    torch.manual_seed(3)
    model = models.build("detail_vit_s", len(PERSON), scale="mini")
    metadata = models.metadata_for("detail_vit_s", PERSON, "mini") | {
        "closer": closer,
        "run": "a",
        "epoch": 1,
    }
    metadata["test_cfg"]["mode"] = "whole"
    full = models.save(model, folder / "full.safetensors", metadata)
    path = average.average_checkpoints([full], folder / "small.safetensors", licence="Apache-2.0")
    write(path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return mini(tmp_path_factory.mktemp("model"), CLOSER)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """The same, whose second stage sees some patches only."""
    return mini(tmp_path_factory.mktemp("sparse"), CLOSER | {"least": 1.0})


def labels(scores, shape):
    return segment.strongest(scores, list(range(len(scores))), shape)


@pytest.mark.parametrize("which", ["small", "sparse", "shipped"])
def test_both_runtimes_label_the_same(which, request):
    path = about.DEFAULT_MODEL if which == "shipped" else request.getfixturevalue(which)
    theirs, ours = models.load(path), graph.GraphModel(path, precision="f32")
    for photo in drawn(2):
        expected = models.probabilities(theirs, photo, "fp32")
        found = ours.probabilities(photo)
        assert found.shape == expected.shape and found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-2
        assert (labels(found, photo.shape[:2]) == labels(expected, photo.shape[:2])).mean() >= 0.999
        if which == "sparse":
            (crop,) = models.crops(theirs, [photo], "fp32")
            assert len(crop.kept.patches) < 0.9 * np.prod(
                models.two_stage.patches(crop.size, theirs.metadata)
            )


def test_what_the_cpu_is_fastest_at_labels_nearly_the_same():
    exact = graph.GraphModel(about.DEFAULT_MODEL, precision="f32")
    for fast in (graph.GraphModel(about.DEFAULT_MODEL, group=group) for group in (None, 0)):
        for photo in drawn(2):
            a, b = (labels(model.probabilities(photo), photo.shape[:2]) for model in (exact, fast))
            assert (a == b).mean() >= 0.99


def test_the_way_back_is_crop_blend():
    """Where the first look is resampled to a crop, arrays and tensors give the same."""
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(5, *size)).astype(np.float32) for size in ((12, 9), (16, 20)))
    context = models.two_stage.GlobalContext(torch.from_numpy(first), 0.3, [1, 2, 4])
    crop = models.two_stage.Crop(slice(13, 71), slice(5, 60), (64, 80), context)
    expected = crop.blend(torch.from_numpy(second), (90, 70)).numpy()
    found = graph._blend(crop._replace(context=context._replace(logits=first)), second, (90, 70))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_graph_holds_no_weights_and_belongs_to_one_file(small, tmp_path):
    assert graph.path_of(about.DEFAULT_MODEL).stat().st_size < 0.5e6
    other = tmp_path / "small.safetensors"
    model = models.load(small)
    models.save(model, other, model.metadata)
    graph.path_of(other).write_bytes(graph.path_of(small).read_bytes())
    with pytest.raises(
        ValueError, match=r"was not made from .*small.safetensors as it is now: make it again"
    ):
        segment.load_model(other)
    assert isinstance(segment.load_model(other, "torch"), torch.nn.Module)


def test_windows_that_slide_have_no_graph(tmp_path):
    model = models.build("detail_vit_s", 5, scale="mini")
    path = models.save(model, tmp_path / "m.safetensors", model.metadata)
    with pytest.raises(ValueError, match="is tested with sliding windows: a graph sees a photo in one piece"):
        write(path)


def test_runtimes_that_cannot_be_are_refused(small, tmp_path, monkeypatch):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(small.read_bytes())
    assert segment.chosen_runtime(alone) == "torch" and segment.chosen_runtime(small) == "openvino"
    with pytest.raises(
        ValueError, match="The runtime openvino needs the graph .*alone.onnx, which is missing"
    ):
        segment.load_model(alone, "openvino")
    with pytest.raises(ValueError, match="runtime"):
        segment.load_model(small, "tensorflow")
    monkeypatch.setattr(segment, "_GPU", tmp_path)  # a machine with a GPU, and torch beside it
    assert (
        segment.chosen_runtime(small) == "torch" and segment.chosen_runtime(small, "openvino") == "openvino"
    )


def test_a_folder_is_cut_out_and_resumed_by_either_runtime(small, tmp_path):
    for number, photo in enumerate(drawn(2)):
        Image.fromarray(photo[::4, ::4]).save(tmp_path / f"{number}.png")
    how = dict(layers=True, edge="soft", progress=False)
    done = [batch.run(tmp_path / "*.png", tmp_path / "out", small, **how) for _ in range(2)]
    assert [(each.done, each.skipped) for each in done] == [(2, 0), (0, 2)]
    again = batch.run(tmp_path / "*.png", tmp_path / "out", small, runtime="torch", **how)
    assert (again.done, again.skipped) == (2, 0)  # rounded otherwise, so made again
    assert json.loads((tmp_path / "out/0.layers/manifest.json").read_text())["size"]
    digests = {Options().digest(segment.load_model(small, runtime)) for runtime in ("openvino", "torch")}
    assert len(digests) == 2


def test_a_signal_is_handled_after_models_are_gone(small):
    program = f"""
import faulthandler, os, signal
from fashionlib.models.graph import GraphModel
faulthandler.enable()  # brings a stack for signals, as pytest and IPython do
models = [GraphModel({str(small)!r}) for _ in range(2)]
while models:
    del models[0]
signal.signal(signal.SIGINT, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_the_command_loads_neither_torch_nor_what_draws_figures(tmp_path):
    Image.fromarray(drawn(1)[0]).save(tmp_path / "photo.png")
    heavy = {"torch", "mmseg", "mmcv", "mmengine", "pandas", "matplotlib", "jsonschema", "onnx", "pymatting"}
    program = f"""
import atexit, sys
from fashionlib.cli import main
atexit.register(lambda: print({heavy!r} & {{*sys.modules}}))
main(sys.argv[1:])
"""
    for words in (["cutout", "--about"], ["cutout", "photo.png", "--out", "cut", "--preview"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr
    assert (tmp_path / "cut/photo.png").is_file()


def test_without_pymatting_soft_edges_lose_the_background_and_matting_is_refused(monkeypatch):
    monkeypatch.setattr(edges, "has_matting", lambda: False)
    ramp = (np.linspace(-3, 4, 40, dtype=np.float32).clip(0, 1))[None, :, None].repeat(30, axis=0)
    red, green = np.array([200, 30, 40]), np.array([20, 180, 60])
    photo = np.round(ramp * red + (1 - ramp) * green).astype(np.uint8)
    alpha = np.round(ramp[..., 0] * 255).astype(np.uint8)
    found = edges.estimate_foreground(photo, alpha)[..., :3]
    weight, inside = ramp[..., 0], (alpha > 0) & (alpha < 255)
    error, before = ((np.abs(rgb - red).mean(axis=2) * weight)[inside].mean() for rgb in (found, photo))
    assert error < before / 3
    with pytest.raises(ValueError, match=r"Matting needs PyMatting: pip install 'fashionlib\[matting\]'"):
        Options(edge="matting")


@pytest.mark.parametrize(
    ("module", "extra"), [("torch", "train"), ("ray.data", "ray"), ("seaborn", "notebooks")]
)
def test_a_missing_package_is_one_sentence_with_its_extra(module, extra):
    told = sentence(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert told == f"This needs {module.split('.')[0]}, not installed: pip install 'fashionlib[{extra}]'."
    assert sentence(ModuleNotFoundError("ours", name="fashionlib.nowhere")) is None
