"""One tester, every row of the table; the published architectures by equality with the shipped configs."""

import functools
import json
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules
from safetensors.torch import load_file, save_file
from torch.nn.modules.batchnorm import _BatchNorm

from fashionlib import models
from fashionlib.core.classes import CLASSES
from fashionlib.models import dinov2, inference, zoo
from fashionlib.models.network import CONFIGS
from fashionlib.models.norms import FrozenBatchNorm
from fashionlib.models.two_stage import fitted_size
from fashionlib.models.zoo import _VIT_S

MILLIONS = {  # parameters at 28 classes, auxiliary heads included, counted once and then golden
    "segmenter_vit_t": 6.69, "segmenter_vit_b": 102.40, "setr_mla": 309.38, "setr_pup": 317.16,
    "setr_naive": 305.43, "segmenter_vit_t_linear": 5.69, "segmenter_vit_b_linear": 86.46,
    "segmenter_vit_s": 26.05, "segmenter_vit_s_linear": 22.06, "setr_vit_s_naive": 22.67,
    "setr_vit_s_pup": 29.16, "setr_vit_s_mla": 26.62, "unet": 29.06, "deeplabv3plus_r50": 43.60,
}  # fmt: skip


def on_meta(cfg: Config) -> torch.nn.Module:
    """The architecture without its memory: parameters of a 300-million model cost nothing to count."""
    register_all_modules(init_default_scope=True)
    rates = functools.partial(torch.linspace, device="cpu")  # drop-path rates are read while building
    with mock.patch("torch.linspace", rates), torch.device("meta"):
        return revert_sync_batchnorm(MMSEG_MODELS.build(cfg.model))


def shipped(name: str, num_classes: int) -> Config:
    """MMSegmentation's own config with nothing changed but the number of classes and outside weights."""
    cfg = Config.fromfile(CONFIGS / models.MODELS[name].config)
    auxiliary = cfg.model.get("auxiliary_head") or []
    for head in [cfg.model.decode_head, *(auxiliary if isinstance(auxiliary, list) else [auxiliary])]:
        head.num_classes = num_classes
    cfg.model.pretrained = None
    cfg.model.backbone.init_cfg = None
    return cfg


@pytest.mark.parametrize("name", [*models.PAPER, "setr_naive", "segmenter_vit_l", "deeplabv3plus_r50"])
def test_state_dict_is_that_of_the_shipped_config(name):
    ours = {key: tuple(value.shape) for key, value in on_meta(models.config(name)).state_dict().items()}
    theirs = {key: tuple(value.shape) for key, value in on_meta(shipped(name, 28)).state_dict().items()}
    assert ours == theirs


@pytest.mark.parametrize("name", MILLIONS)
def test_parameter_count(name):
    count = sum(p.numel() for p in on_meta(models.config(name)).parameters())
    assert round(count / 1e6, 2) == MILLIONS[name]


@pytest.mark.parametrize("name", models.MODELS)
def test_mini_keeps_the_family_and_trains(name):
    torch.manual_seed(0)
    model = models.build(name, scale="mini")
    full = models.config(name)
    assert type(model.backbone).__name__ == full.model.backbone.type
    assert type(model.decode_head).__name__ == full.model.decode_head.type
    auxiliary = getattr(model, "auxiliary_head", None)
    assert bool(auxiliary) == bool(full.model.get("auxiliary_head"))
    if models.MODELS[name].patch:
        assert len(model.backbone.layers) >= 4 and model.backbone.pos_embed.shape[-1] >= 128
    x = torch.randn(2, 3, 128, 128)
    logits = model.encode_decode(x, [dict(img_shape=(128, 128))] * 2)
    assert logits.shape == (2, 28, 128, 128)
    logits.sum().backward()
    assert all(p.grad is not None for n, p in model.decode_head.named_parameters() if p.requires_grad)


def test_no_row_ever_asks_for_outside_weights():
    for name in models.MODELS:
        for scale in models.SCALES:
            text = str(models.config(name, scale=scale).model)
            assert "http" not in text and "open-mmlab" not in text and ".pth" not in text, (name, scale)


def test_no_head_aligns_corners():
    """`predict` enlarges logits itself, with half-pixel centres."""
    assert not any(models.config(name).model.decode_head.get("align_corners") for name in models.MODELS)


def test_every_vit_s_row_has_the_same_encoder():
    encoders = [models.config(name).model.backbone for name in models.MODELS if "vit_s" in name]
    assert len(encoders) == 6  # under five decoders of the paper, and ours
    for encoder in encoders:
        assert {key: encoder.get(key) for key in _VIT_S if key != "norm_cfg"} == {
            key: value for key, value in _VIT_S.items() if key != "norm_cfg"
        }
        assert encoder.norm_cfg.eps == 1e-6


STAGES = {  # enlargement of the tokens' grid by the decode head at patch 8, 14 and 16
    "segmenter_vit_s": (1, 1, 1), "setr_vit_s_naive": (4, 4, 4), "setr_vit_s_mla": (4, 4, 4),
    "setr_vit_s_pup": (8, 16, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_another_patch_gives_another_grid_and_pup_the_stages_that_undo_it(name):
    for patch, stages in zip(zoo.PATCHES, STAGES[name], strict=True):
        model = on_meta(models.config(name, crop=(112, 112), patch=patch)).eval()
        features = model.extract_feat(torch.zeros(1, 3, 112, 112, device="meta"))
        logits = model.decode_head(features)
        assert logits.shape == (1, 28, *[112 // patch * stages] * 2)
        if name == "setr_vit_s_pup":
            factors = {head(features).shape[2] * patch // 112 for head in model.auxiliary_head}
            assert factors == {4 if patch == 8 else 16}


def test_a_crop_that_is_not_given_comes_in_whole_patches():
    sizes = {
        patch: models.config("setr_vit_s_pup", patch=patch).model.backbone.img_size for patch in zoo.PATCHES
    }
    assert sizes == {8: (520, 520), 14: (518, 518), 16: (512, 512)}
    assert models.config("setr_pup", patch=14).model.backbone.img_size == (518, 518)


@pytest.mark.parametrize(("name", "change", "sentence"), [
    ("unet", dict(patch=8), "patch=8: unet is convolutional, or its patches can't be changed"),
    ("setr_pup", dict(patch=8, scale="mini"), "patch=8: models at scale mini always have patches of 8"),
    ("setr_pup", dict(patch=7), "patch=7: must be 8, 14 or 16"),
    ("segmenter_vit_s", dict(norm="group"), "norm='group': segmenter_vit_s has no batch norm"),
    ("setr_pup", dict(norm="layer"), "Unknown norm 'layer'"),
])  # fmt: skip
def test_a_patch_or_norm_that_a_row_cannot_have_is_refused(name, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.build(name, **change)


@pytest.mark.parametrize("name", models.MODELS)
def test_the_table_knows_which_networks_have_batch_norms(name):
    modules = on_meta(models.config(name)).modules()
    assert any(isinstance(module, _BatchNorm) for module in modules) == models.MODELS[name].batch_norm


@pytest.mark.parametrize("norm", ["frozen_batch", "group"])
@pytest.mark.parametrize("name", ["setr_mla", "deeplabv3plus_r50", "detail_vit_s"])
def test_another_norm_keeps_no_statistics_of_a_batch_and_survives_saving(name, norm, tmp_path):
    model = models.build(name, 3, "mini", crop=(64, 64), norm=norm)
    batch_norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert all(type(module) is FrozenBatchNorm for module in batch_norms)
    assert (
        bool(batch_norms) == (norm == "frozen_batch") == any("running_mean" in n for n in model.state_dict())
    )
    statistics = {n: t.clone() for n, t in model.named_buffers()}
    model.train()
    model.encode_decode(torch.randn(2, 3, 64, 64), [dict(img_shape=(64, 64))] * 2).sum().backward()
    assert all(torch.equal(t, statistics[n]) for n, t in model.named_buffers())
    assert all(p.grad is not None for n, p in model.decode_head.named_parameters() if "conv_seg" not in n)
    loaded = models.load(models.save(model, tmp_path / "epoch_1.safetensors", model.metadata))
    model.eval()
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    logits = [models.upsampled_logits(each, photo, "fp32") for each in (model, loaded)]
    assert loaded.metadata["norm"] == norm and torch.allclose(*logits, atol=1e-5)


def test_another_patch_survives_saving_and_starts_from_the_rows_own(tmp_path):
    own = models.build("segmenter_vit_s", 3, crop=(28, 42))
    path = models.save(own, tmp_path / "own.safetensors", own.metadata)
    model = models.build("segmenter_vit_s", 3, init=str(path), crop=(32, 48), patch=8)
    assert "Its patch embedding is resized from 14 to 8 pixels" in str(model.init_report)
    kernel = own.backbone.patch_embed.projection.weight
    assert torch.equal(model.backbone.patch_embed.projection.weight, dinov2.resize_patch_kernel(kernel, 8))
    assert model.backbone.pos_embed.shape[1] == 1 + 4 * 6
    loaded = models.load(models.save(model, tmp_path / "epoch_1.safetensors", model.metadata))
    model.eval()
    photo = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    logits = [models.upsampled_logits(each, photo, "fp32") for each in (model, loaded)]
    assert loaded.backbone.patch_size == 8 and torch.allclose(*logits, atol=1e-5)
    whole = loaded.metadata | dict(test_cfg=dict(mode="whole"))
    assert fitted_size((90, 60), whole) == (48, 32) and fitted_size((90, 60), whole | dict(patch=None)) == (
        42,
        28,
    )


def test_a_checkpoint_without_patch_and_norm_is_the_rows_own(saved, tmp_path):
    older = {key: value for key, value in saved[0].metadata.items() if key not in ("patch", "norm")}
    loaded = models.load(models.save(saved[0], tmp_path / "older.safetensors", older))
    assert (
        loaded.state_dict().keys() == saved[0].state_dict().keys() and loaded.metadata.keys() == older.keys()
    )


def test_unknown_names_say_what_is_known():
    with pytest.raises(ValueError, match="Did you mean 'setr_mla'"):
        models.config("setr_mlaa")
    with pytest.raises(ValueError, match="scale"):
        models.config("setr_mla", scale="tiny")


def test_window_and_stride_follow_the_crop():
    cfg = models.config("setr_mla", crop=(256, 256))
    assert cfg.model.test_cfg.crop_size == (256, 256)
    assert cfg.model.test_cfg.stride == (170, 170)  # 341 of 512, in proportion
    assert models.test_resize(cfg, "full", (256, 256)) == (1024, 256)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(1)
    model = models.build("setr_pup", scale="mini")
    path = tmp_path_factory.mktemp("checkpoint") / "epoch_1.safetensors"
    return model, models.save(model, path, models.metadata_for("setr_pup", CLASSES, "mini") | dict(epoch=1))


def test_a_checkpoint_rebuilds_its_model(saved):
    model, path = saved
    loaded = models.load(path)
    assert (
        not loaded.training and loaded.metadata["classes"] == list(CLASSES) and loaded.metadata["epoch"] == 1
    )
    theirs = loaded.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())


def test_predictions_survive_saving_and_have_the_photos_size(saved):
    model, path = saved
    photo = np.random.default_rng(0).integers(0, 255, (150, 97, 3), np.uint8)
    model.eval()
    label = models.predict(model, photo, "fp32")
    assert label.shape == (150, 97) and label.dtype == np.uint8 and label.max() < 28
    assert np.array_equal(label, models.predict(models.load(path), photo, "fp32"))


def test_probabilities_are_those_of_the_logits_no_finer_than_the_photo(saved):
    model, _ = saved
    model.eval()
    for size in [(150, 97), (60, 40), (600, 388)]:
        photo = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
        shown = models.fitted_size(size, model.metadata)  # in windows: the answer is as fine as that
        probabilities = models.probabilities(model, photo, "fp32")
        assert probabilities.shape == (28, *np.minimum(shown, size))
        assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
        logits = torch.nn.functional.interpolate(
            models.upsampled_logits(model, photo, "fp32")[None], probabilities.shape[1:], mode="bilinear"
        )
        assert np.allclose(probabilities, logits[0].softmax(0), atol=1e-5)


def test_probabilities_of_a_coarse_head_come_at_half_the_size_it_saw():
    model = models.build("segmenter_vit_t", scale="mini")
    model.metadata |= dict(resize=[512, 128], test_cfg=dict(mode="whole"))
    model.test_cfg.mode = "whole"
    model.eval()
    photo = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)
    assert models.fitted_size((850, 550), model.metadata) == (200, 128)  # whole patches
    assert models.fitted_size((300, 200), model.metadata) == (192, 128)
    assert models.probabilities(model, photo).shape == (28, 96, 64)


@pytest.mark.parametrize("size", [(300, 180), (150, 150)], ids=["windows", "one piece"])
def test_prediction_equals_mmsegmentations_own_test_step(saved, size):
    """Same preprocessing, same windows, same resizing as `EncoderDecoder.predict` behind its own pipeline."""
    from mmengine.dataset import Compose
    from mmseg.registry import TRANSFORMS

    model, _ = saved
    model.eval()
    photo = np.random.default_rng(2).integers(0, 255, (*size, 3), np.uint8)
    steps = [dict(type="Resize", scale=(512, 128), keep_ratio=True), dict(type="PackSegInputs")]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    item = pipeline(dict(img=photo[..., ::-1].copy(), img_shape=photo.shape[:2], ori_shape=photo.shape[:2]))
    with torch.no_grad():
        theirs = model.test_step(dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]]))[0]
    ours = models.predict(model, photo, "fp32")
    assert (ours == theirs.pred_sem_seg.data[0].numpy()).mean() > 0.999


@pytest.mark.parametrize("mode", ["slide", "whole"])
def test_a_batch_predicts_what_its_photos_predict_alone(saved, mode, monkeypatch):
    """Three sizes mixed, more of one than go through the model at once, in the order given."""
    model = models.load(saved[1])
    if mode == "whole":
        model.test_cfg.mode = model.metadata["test_cfg"]["mode"] = "whole"
    rng = np.random.default_rng(3)
    sizes = [(90, 60), (180, 120), (60, 90), (90, 60), (96, 60)]  # the second is shown at the first's size
    photos = [cv2.resize(rng.integers(0, 255, (6, 4, 3), np.uint8), size[::-1]) for size in sizes]
    monkeypatch.setattr(inference, "BATCH", 2)
    together = models.predict_batch(model, photos, "fp32")
    assert [label.shape for label in together] == sizes
    for photo, label in zip(photos, together, strict=True):
        assert (label == models.predict(model, photo, "fp32")).mean() > 0.999
    assert models.predict_batch(model, []) == []


def test_logits_come_at_the_size_that_was_asked_for(saved):
    model = models.load(saved[1])
    assert fitted_size((96, 64), model.metadata) == (192, 128)
    assert models.upsampled_logits(model, np.zeros((96, 64, 3), np.uint8)).shape == (28, 192, 128)
    assert models.upsampled_logits(model, np.zeros((96, 64, 3), np.uint8), size=(288, 192)).shape == (
        28,
        288,
        192,
    )


@pytest.mark.parametrize("sizes", [[(83, 61)], [(40, 33), (83, 61)], [(63, 49), (50, 40)]])
def test_argmax_of_upsampled_logits_needs_no_stack(sizes):
    scores = torch.randn(28, 9, 7)
    scores[::3] -= 9  # never win, and are never resized
    full = scores[None]
    for size in sizes:
        full = torch.nn.functional.interpolate(full, size, mode="bilinear")
    assert np.array_equal(models.upsampled_argmax(scores, *sizes), full[0].argmax(0).numpy())


def test_classes_that_cannot_win_are_not_resized():
    scores = torch.full((28, 9, 7), -1.0)
    scores[5], scores[11] = torch.linspace(8, 0, 7), torch.linspace(0, 8, 7)
    with mock.patch("cv2.resize", side_effect=cv2.resize) as resize:
        label = models.upsampled_argmax(scores, (90, 70))
    assert set(np.unique(label)) == {5, 11} and resize.call_count == 2


def test_half_precision_files_load_as_float32(saved, tmp_path):
    _, path = saved
    half = tmp_path / "half.safetensors"
    state = {k: v.half() if v.is_floating_point() else v for k, v in load_file(path).items()}
    save_file(state, half, metadata={"fashionlib": json.dumps(models.read_metadata(path))})
    assert next(models.load(half).parameters()).dtype == torch.float32


def test_unet_takes_a_whole_photo_of_any_sides():
    model = models.build("unet", scale="mini")
    model.eval()
    model.metadata["test_cfg"]["mode"] = model.test_cfg.mode = "whole"
    assert models.predict(model, np.zeros((142, 128, 3), np.uint8)).shape == (142, 128)
