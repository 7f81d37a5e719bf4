"""Averaged checkpoints: smaller, still the same model, and the mean is a mean."""

import pytest
import torch
from click.testing import CliRunner

from fashionlib import models
from fashionlib.models import weight_files
from fashionlib.models.weight_files import unpacked
from tools.cutout_model.__main__ import main
from tools.cutout_model.average import average_checkpoints, mean

CONV = "decode_head.conv_seg.weight"


def saved(model, path, run, epoch):
    return models.save(model, path, model.metadata | dict(run=run, epoch=epoch))


@pytest.fixture
def epochs(tmp_path):
    """Two epochs of one run, and one of another."""
    model = models.build("detail_vit_s", 5, scale="mini")
    paths = []
    for run, epoch in (("one", 1), ("one", 2), ("two", 1)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        paths.append(saved(model, tmp_path / f"{run}_{epoch}.safetensors", run, epoch))
    return paths


def test_a_packed_checkpoint_is_the_same_model_at_a_quarter_of_the_size_and_can_start_a_run(epochs, tmp_path):
    out = average_checkpoints(epochs[:1], tmp_path / "packed.safetensors", licence="Apache-2.0")
    full, small = models.load(epochs[0]), models.load(out)
    assert out.stat().st_size < 0.35 * epochs[0].stat().st_size
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        a, b = (model.decode_head(model.backbone(x)) for model in (full, small))
    assert (a - b).std() < 0.05 * a.std()
    assert small.metadata["licence"] == "Apache-2.0" and small.metadata["packed"] == "int8"
    model = models.build("detail_vit_s", 5, scale="mini", init=str(out))
    assert model.init_report.fresh == 0
    name = "backbone.layers.0.attn.attn.in_proj_weight"
    assert torch.equal(model.state_dict()[name], unpacked(weight_files.safe_load(out))[name])


def test_an_epoch_given_last_is_not_replaced(epochs, tmp_path):
    before = epochs[1].read_bytes()
    with pytest.raises(FileExistsError, match="one_2.safetensors exists and is not a packed checkpoint"):
        average_checkpoints(epochs[:1], epochs[1])
    with pytest.raises(FileExistsError, match="are the same, or one lies in the other"):
        average_checkpoints(epochs[:2], epochs[1])
    assert epochs[1].read_bytes() == before
    for _ in range(2):
        average_checkpoints(epochs[:1], tmp_path / "packed.safetensors")


def test_the_average_is_the_mean_and_names_its_epochs(epochs):
    averaged, metadata = mean(epochs[:2])
    one, two = (models.load(path).state_dict()[CONV] for path in epochs[:2])
    assert torch.allclose(averaged[CONV], (one + two) / 2) and metadata["epochs"] == [1, 2]


def test_epochs_of_two_runs_are_averaged_only_when_asked(epochs):
    with pytest.raises(ValueError, match=r"two_1.safetensors is of another run than .*--across-runs"):
        mean(epochs)
    averaged, metadata = mean(epochs, across_runs=True)
    states = [models.load(path).state_dict()[CONV] for path in epochs]
    assert torch.allclose(averaged[CONV], sum(states) / 3, atol=1e-6)
    assert metadata["epochs"] == ["one/1", "one/2", "two/1"] and metadata["run"] == "one"


def test_position_embeddings_are_resized_to_the_first_crop(epochs, tmp_path):
    wide = models.build("detail_vit_s", 5, scale="mini", init=str(epochs[0]), crop=(128, 256))
    path = saved(wide, tmp_path / "wide.safetensors", "wide", 1)
    averaged, metadata = mean([epochs[0], path], across_runs=True)
    name = "backbone.pos_embed"
    there_and_back = models.build("detail_vit_s", 5, scale="mini", init=str(path)).state_dict()[name]
    assert metadata["crop"] == [128, 128] and averaged[name].shape == there_and_back.shape
    assert torch.allclose(averaged[name], (models.load(epochs[0]).state_dict()[name] + there_and_back) / 2)


def test_models_of_other_classes_have_no_average(epochs, tmp_path):
    path = saved(models.build("detail_vit_s", 4, scale="mini"), tmp_path / "other.safetensors", "other", 1)
    with pytest.raises(ValueError, match="other.safetensors has another classes than .*no average"):
        mean([epochs[0], path], across_runs=True)


def test_the_command_writes_the_two_stages_and_refuses_what_cannot_be(epochs, tmp_path):
    out = tmp_path / "out.safetensors"
    asked = ["average", str(epochs[0]), str(out)]
    stages = {"first": [512, 128], "margin": 0.1, "pixels": 40000}
    alone = CliRunner().invoke(main, [*asked, "--context-weight", "0.3"])
    assert alone.exit_code == 2 and "--two-stage as well" in alone.output and not out.exists()
    for more, weight in (([], {}), (["--context-weight", "0.3"], {"share": 0.3})):
        result = CliRunner().invoke(main, [*asked, "--two-stage", "512", "128", "0.1", "40000", *more])
        assert result.exit_code == 0, result.output
        assert models.load(out).metadata["closer"] == stages | weight
    with pytest.raises(ValueError, match="its closer is"):
        average_checkpoints(epochs[:1], out, closer=stages | {"pixels": 0})
    sparse = [*asked, "--two-stage", "512", "128", "0.1", "40000", "--least", "0.1"]
    refused = CliRunner().invoke(main, sparse)
    assert refused.exit_code == 1 and "of detail_vit_s seen whole" in " ".join(refused.output.split())
    whole = models.load(epochs[0])
    whole.metadata["test_cfg"]["mode"] = "whole"
    models.save(whole, epochs[0], whole.metadata)
    assert CliRunner().invoke(main, sparse).exit_code == 0
    assert models.load(out).metadata["closer"] == stages | {"least": 0.1}
