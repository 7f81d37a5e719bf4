"""Packed checkpoints: smaller, still the same model, and a mean of epochs that is a mean."""

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fashionlib import models
from fashionlib.models.weight_files import SCALE, safe_load, unpacked
from tools.cutout_model.__main__ import main
from tools.cutout_model.average import average, pack, packed


@pytest.fixture
def epochs(tmp_path):
    """Two epochs of one run, and one of another."""
    model = models.build("detail_vit_s", 5, scale="mini")
    paths = []
    for run, epoch in (("one", 1), ("one", 2), ("two", 1)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        path = tmp_path / f"{run}_{epoch}.safetensors"
        paths.append(models.save(model, path, model.metadata | dict(run=run, epoch=epoch)))
    return paths


@given(st.integers(0, 2**32 - 1), st.sampled_from([(7, 5), (4, 3, 3, 3), (1, 9, 6), (8,), (6, 1, 1, 1)]))
def test_a_packed_tensor_is_off_by_at_most_half_a_step(seed, shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    stored = packed({"w": tensor})
    step = tensor.abs().flatten(1).amax(1) / 127 if "w" + SCALE in stored else torch.full(shape[:1], 2e-3)
    error = (unpacked(stored)["w"] - tensor).abs().reshape(shape[0], -1).amax(1)
    # half a step, and what fp16 rounds of the scale, which grows to 127 times 2^-11 of a step
    assert (error <= 0.57 * step + 1e-8).all()
    assert unpacked(stored)["w"].dtype == torch.float32


def test_zeros_and_counters_survive_packing():
    state = {"w": torch.zeros(3, 4), "n": torch.tensor(7)}
    restored = unpacked(packed(state))
    assert torch.equal(restored["w"], state["w"]) and torch.equal(restored["n"], state["n"])


def test_a_packed_checkpoint_is_the_same_model_at_a_quarter_of_the_size(epochs, tmp_path):
    out = pack(epochs[:1], tmp_path / "packed.safetensors", licence="Apache-2.0")
    full, small = models.load(epochs[0]), models.load(out)
    assert out.stat().st_size < 0.35 * epochs[0].stat().st_size
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        a, b = (model.decode_head(model.backbone(x)) for model in (full, small))
    assert (a - b).std() < 0.05 * a.std()
    assert small.metadata["licence"] == "Apache-2.0" and small.metadata["packed"] == "int8"


def test_an_epoch_given_last_is_not_replaced(epochs, tmp_path):
    before = epochs[1].read_bytes()
    with pytest.raises(FileExistsError, match="one_2.safetensors exists and is not a packed checkpoint"):
        pack(epochs[:1], epochs[1])
    with pytest.raises(FileExistsError, match="are the same, or one lies in the other"):
        pack(epochs[:2], epochs[1])
    assert epochs[1].read_bytes() == before
    for _ in range(2):
        pack(epochs[:1], tmp_path / "packed.safetensors")


def test_the_average_is_the_mean_and_names_its_epochs(epochs):
    mean, card = average(epochs[:2])
    one, two = (models.load(path).state_dict() for path in epochs[:2])
    name = "decode_head.conv_seg.weight"
    assert torch.allclose(mean[name], (one[name] + two[name]) / 2) and card["epochs"] == [1, 2]


def test_epochs_of_two_runs_are_averaged_only_as_a_soup(epochs):
    with pytest.raises(ValueError, match=r"two_1.safetensors is of another run than .*--soup"):
        average(epochs)
    mean, card = average(epochs, soup=True)
    states = [models.load(path).state_dict() for path in epochs]
    name = "decode_head.tokens.0.conv.weight"
    assert torch.allclose(mean[name], sum(state[name] for state in states) / 3, atol=1e-6)
    assert card["epochs"] == ["one/1", "one/2", "two/1"] and card["run"] == "one"


def test_a_soup_fits_position_embeddings_to_the_first_crop(epochs, tmp_path):
    wide = models.build("detail_vit_s", 5, scale="mini", init=str(epochs[0]), crop=(128, 256))
    path = models.save(wide, tmp_path / "wide.safetensors", wide.metadata | dict(run="wide", epoch=1))
    mean, card = average([epochs[0], path], soup=True)
    name = "backbone.pos_embed"
    there_and_back = models.build("detail_vit_s", 5, scale="mini", init=str(path)).state_dict()[name]
    assert card["crop"] == [128, 128] and mean[name].shape == there_and_back.shape
    assert torch.allclose(mean[name], (models.load(epochs[0]).state_dict()[name] + there_and_back) / 2)


def test_models_of_other_classes_make_no_soup(epochs, tmp_path):
    other = models.build("detail_vit_s", 4, scale="mini")
    path = models.save(other, tmp_path / "other.safetensors", other.metadata | dict(run="other", epoch=1))
    with pytest.raises(ValueError, match="other.safetensors has another classes than .*no average"):
        average([epochs[0], path], soup=True)


def test_a_packed_checkpoint_can_start_a_run(epochs, tmp_path):
    out = pack(epochs[:1], tmp_path / "packed.safetensors")
    model = models.build("detail_vit_s", 5, scale="mini", init=str(out))
    assert model.init_report.fresh == 0
    name = "backbone.layers.0.attn.attn.in_proj_weight"
    assert torch.equal(model.state_dict()[name], unpacked(safe_load(out))[name])


def test_pack_writes_the_card_and_refuses_one_that_cannot_be(tmp_path):
    model = models.build("detail_vit_s", 5, scale="mini")
    path = models.save(model, tmp_path / "a.safetensors", model.metadata | dict(run="a", epoch=1))
    out = tmp_path / "b.safetensors"
    asked = ["pack", str(path), str(out), "--closer", "512", "128", "0.1"]
    refused = CliRunner().invoke(main, [*asked, "99999999"])
    assert refused.exit_code == 1 and "its closer is" in refused.output and not out.exists()
    alone = CliRunner().invoke(main, ["pack", str(path), str(out), "--share", "0.3"])
    assert alone.exit_code == 2 and "--closer as well" in alone.output and not out.exists()
    for more, share in (([], {}), (["--share", "0.3"], {"share": 0.3})):
        result = CliRunner().invoke(main, [*asked, "40000", *more])
        assert result.exit_code == 0, result.output
        assert (
            models.load(out).metadata["closer"]
            == {"first": [512, 128], "margin": 0.1, "pixels": 40_000} | share
        )
