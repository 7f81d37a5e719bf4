"""Someone's own MMSegmentation config file as a model: trained, scored, loaded, refused."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import recipe

from fashionlib import evaluate, models, train
from fashionlib.models import specs
from fashionlib.train import Recipe, RunRefused, run_folder

BASE = """
crop_size = (64, 96)
model = dict(
    type="EncoderDecoder", pretrained="open-mmlab://resnet50_v1c",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[120.0, 110, 100], std=[58, 57, 56]),
    backbone=dict(
        type="MixVisionTransformer", embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 2, 4, 8],
        patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint="https://example.org/mit_b0.pth"),
    ),
    decode_head=dict(
        type="SegformerHead", in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=16,
        num_classes=150, norm_cfg=dict(type="SyncBN", requires_grad=True),
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, class_weight=[1.0] * 150),
    ),
    train_cfg=dict(), test_cfg=dict(mode="slide", crop_size=(64, 96), stride=(32, 48)),
)
optim_wrapper = dict(optimizer=dict(type="Adam", lr=7.0))
"""


@pytest.fixture
def own(tmp_path):
    """The path of a config file; called with lines of Python, it writes one that adds them to its base."""

    def write(lines: str = "model = dict(decode_head=dict(channels=12))", name: str = "my_config.py") -> str:
        (tmp_path / "base.py").write_text(BASE)
        (tmp_path / name).write_text(f'_base_ = ["base.py"]\n{lines}\n')
        return str(tmp_path / name)

    return write


def of_own(path: str, **changes):
    return recipe(**dict(model=path, scale="full", epochs=1, crop=[64, 64]) | changes)


def test_it_is_trained_resumed_scored_and_loaded_without_its_file(own, prepared_home, tmp_path):
    path, home = own(), tmp_path
    shutil.copytree(prepared_home / "data", home / "data")
    ours = of_own(path, epochs=2, norm="group")
    assert ours.name == "my_config-full-none"
    with pytest.raises(KeyboardInterrupt):
        train.train(ours, home=home, progress=False, on_iteration=stop_at(5))
    folder = train.train(ours, home=home, progress=False)
    twice = train.train(of_own(path, epochs=2, norm="group", variant="b"), home=home, progress=False)
    states = [load_file(f / "epoch_2.safetensors") for f in (folder, twice)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert "my_config" in train.headline(ours, dict(options={}))
    Path(path).unlink()
    evaluate.validate("tiny", [ours.name], home, progress=False)
    picked = evaluate.pick_epochs("tiny", [ours.name], home)
    assert evaluate.test("tiny", [ours.name], home, progress=False).run.tolist() == list(picked.run)
    loaded = models.load(folder / "epoch_2.safetensors")
    assert type(loaded.decode_head).__name__ == "SegformerHead" and loaded.decode_head.channels == 12
    assert loaded.metadata["model"] == "my_config" and loaded.metadata["mean"] == [120, 110, 100]
    assert models.predict(loaded, np.zeros((50, 70, 3), np.uint8)).shape == (50, 70)


def stop_at(iteration: int):
    """Asks, as Ctrl-C does, for a stop at an iteration."""

    def each(row: dict) -> None:
        if row["iter"] == iteration:
            os.kill(os.getpid(), signal.SIGINT)

    return each


def test_only_its_model_is_used(own):
    made = Recipe.from_preset("paper", model=own(), data="tiny")
    assert (made.lr, made.optimizer, made.batch, made.crop) == (0.001, "SGD", 8, (64, 96))
    assert made.test_mode == "slide" and set(made.origin.values()) >= {"MMSegmentation config", "ours"}
    assert of_own(own()).test_mode == "slide" and models.layers(own()) == 0
    model = models.build(own(), 4, crop=(64, 64), class_weights=[1.0, 2, 3, 4], loss="lovasz")
    assert model.metadata["config"]["decode_head"]["num_classes"] == 150
    assert model.decode_head.num_classes == 4 and str(model.init_report) == "Initial weights: random."
    assert not [m for m in model.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert model.metadata["test_cfg"]["stride"] == (32, 32)
    assert json.loads(json.dumps(model.metadata["config"])) == model.metadata["config"]


def test_a_plain_vit_has_patches_layers_and_positions_for_every_crop(own, tmp_path):
    vit = dict(
        type="VisionTransformer", embed_dims=32, num_heads=2, num_layers=3, out_indices=[2], img_size=64
    )
    head = dict(type="FCNHead", in_channels=32, channels=8, num_convs=1, num_classes=2, in_index=0)
    swap = f"model = dict(backbone=dict(_delete_=True, **{vit}), decode_head=dict(_delete_=True, **{head}))"
    path = own(swap)
    assert models.patch_size(path) == 16 and models.patch_size(path, patch=8) == 8
    assert models.layers(path) == 3 and of_own(path, freeze=3).freeze == 3
    with pytest.raises(
        ValueError, match=r"crop=\(64, 60\): both sides must be multiples of the patch size 16"
    ):
        of_own(path, crop=[64, 60])
    model = models.build(path, 3, crop=(32, 64), patch=8)
    file = models.save(model, tmp_path / "m.safetensors", model.metadata)
    assert models.load(file).backbone.pos_embed.shape == (1, 1 + 4 * 8, 32)
    again = models.build(path, 3, crop=(64, 64), init=str(file))
    assert again.init_report.note == "Its patch embedding is resized from 8 to 16 pixels."


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("model = dict(", "is no config of MMSegmentation: .*never closed"),
        ("1 / 0", "is no config of MMSegmentation: division by zero"),
        ("model = dict(_delete_=True, a=1)", "its model is no EncoderDecoder"),
        ("model = dict(type='CascadeEncoderDecoder')", "its model is no EncoderDecoder"),
        ("model = dict(decode_head=[dict()])", "its model is no EncoderDecoder|is no config"),
        ("custom_imports = dict(imports=['antigravity'])", "custom_imports are not supported"),
        ("model = dict(backbone=dict(type='antigravity'))", "'antigravity' is no layer, head or loss"),
        ("model = dict(backbone=dict(type='mmdet.ResNet'))", "'mmdet.ResNet' is no layer, head or loss"),
        ("model = dict(backbone=dict(type='TIMMBackbone'))", "'TIMMBackbone' is no layer"),
        ("model = dict(decode_head=dict(align_corners=True))", "align_corners=True is not supported"),
        ("model = dict(backbone=dict(embed_dims=10**6))", "it holds the number '1000000'"),
        ("model = dict(backbone=dict(act_cfg=print))", "is no config of MMSegmentation: .*not JSON"),
    ],
)
def test_a_file_that_can_not_be_used_is_one_sentence(lines, sentence, own):
    path = own(lines)
    with pytest.raises(ValueError, match=f"^{path}.*({sentence})") as error:
        models.spec(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("model = dict(backbone=dict(depth=3))", "unexpected keyword argument 'depth'"),
        ("model = dict(decode_head=dict(in_channels=[8, 16, 32, 8]))", "Invalid channel dimensions"),
        (
            "model = dict(decode_head=dict(type='DAHead', in_channels=64, in_index=3, pam_channels=8))",
            "no logits",
        ),
    ],
)
def test_a_network_that_does_not_run_is_refused_before_it_is_trained(lines, sentence, own):
    with pytest.raises(ValueError, match=f"^.*my_config.py can't be built.*{sentence}") as error:
        models.build(own(lines), 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(model="nowhere.py"), "nowhere.py: there is no such config file"),
        (dict(scale="mini"), "scale='mini': a config file's model has one scale: give scale='full'"),
        (dict(patch=8), "patch=8: my_config is convolutional, or its patches can't be changed"),
        (dict(freeze=1), "freeze=1: .*my_config.py has 0 transformer layers"),
        (dict(variant="a/b"), "can't name a folder"),
    ],
)
def test_settings_that_it_can_not_have(change, sentence, own):
    with pytest.raises(ValueError, match=sentence):
        of_own(**dict(path=own()) | change) if "model" not in change else recipe(**change, scale="full")


def test_a_loss_of_its_own_is_kept_and_not_mixed(own):
    path = own("model = dict(decode_head=dict(loss_decode=[dict(type='DiceLoss'), dict(type='LovaszLoss')]))")
    assert of_own(path).loss == "cross_entropy"
    with pytest.raises(ValueError, match="has a loss of its own: leave out loss and class_weight"):
        of_own(path, loss="focal")


def test_initial_weights_are_none_or_a_path_and_norms_are_its_own(own):
    with pytest.raises(
        ValueError, match="There are no dinov2 weights for my_config; the rows that have them"
    ):
        models.build(own(), 3, init="dinov2")
    with pytest.raises(
        ValueError, match="my_config.py can't be built .*norm='group': it has no batch norm that"
    ):
        models.build(own("model = dict(decode_head=dict(norm_cfg=None))"), 3, norm="group")


def test_a_base_that_is_missing_is_named(tmp_path):
    (tmp_path / "lonely.py").write_text("_base_ = ['nowhere.py']")
    with pytest.raises(ValueError, match="lonely.py is no config of MMSegmentation: .*nowhere.py"):
        models.spec(str(tmp_path / "lonely.py"))


def test_a_file_that_claims_a_large_network_is_refused_before_it_takes_memory(own, tmp_path, monkeypatch):
    model = models.build(own(), 3, crop=(64, 64))
    huge = json.loads(json.dumps(model.metadata))
    huge["config"]["backbone"] |= dict(embed_dims=8192, num_heads=[1, 1, 1, 1])
    huge["config"]["decode_head"]["in_channels"] = [8192] * 4
    monkeypatch.setattr("fashionlib.models.checkpoint._network", lambda *_: pytest.fail("built"))
    for change, sentence in (
        (huge, "but its backbone.* is .8, 3, 7, 7., not .8192, 3, 7, 7."),
        (huge | dict(config={}), "its config is {}, not a network of MMSegmentation's own layers"),
        (huge | dict(scale="mini"), "its config is "),
    ):
        file = models.save(model, tmp_path / "huge.safetensors", change)
        with pytest.raises(ValueError, match=sentence) as error:
            models.load(file)
        assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_a_changed_file_is_another_run(own, tmp_path):
    ours, info = of_own(own()), dict(classes=["background", "shirt"], fingerprint="f")
    run_folder.claim(tmp_path, ours, info, overwrite=False)
    run_folder.claim(tmp_path, ours, info, overwrite=False)
    own("model = dict(decode_head=dict(channels=20))")
    with pytest.raises(RunRefused, match="its config file's model differs"):
        run_folder.claim(tmp_path, ours, info, overwrite=False)


def test_metadata_admit_no_more_than_a_config_file(own):
    model = models.spec(own()).own
    assert specs.problem(model) == ""
    for change in (
        dict(_scope_="mmdet"), dict(pretrained="x"), dict(type="os.mkdir"), dict(type="this"), dict(a="../x"),
        dict(type=["ResNet"]), dict(type="VPD"), dict(a="http://x"), dict(a=[{"init_cfg": {}}]),
        dict(a=float("nan")), dict(a=10**9),
    ):  # fmt: skip
        bad = model | dict(backbone=model["backbone"] | change)
        assert specs.problem(bad), change
