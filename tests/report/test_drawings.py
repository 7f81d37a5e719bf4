"""Figures 1 to 3 hold what the built networks hold; a photo goes through a model of patches only."""

import numpy as np
import pytest
import torch

from fashionlib import models
from fashionlib.report import drawings, photo_steps

TRANSFORMERS = ("segmenter_vit_t", "segmenter_vit_t_linear", "setr_naive", "setr_pup", "setr_mla")


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_boxes_have_all_parameters_and_end_with_a_score_for_each_pixel(name):
    found = drawings.blocks(name, "mini", num_classes=5)
    network = models.build(name, 5, scale="mini")
    drawn = {part: value for part, value in network.named_parameters() if not part.startswith("auxiliary")}
    assert sum(box.parameters * box.times for box in found) == sum(p.numel() for p in drawn.values())
    assert found[0].shape == (3, 128, 128) and found[-1].shape == (5, 128, 128)
    layers = [box for box in found if box.title.startswith("transformer layer")]
    assert layers[0].times == len(network.backbone.layers) and not layers[0].in_parallel


def test_branches_stand_side_by_side_and_stages_one_after_the_other():
    mla, pup = drawings.blocks("setr_mla"), drawings.blocks("setr_pup")
    assert {box.times for box in mla if box.in_parallel} == {4} and not any(box.in_parallel for box in pup)
    sides = [box.shape[1] for box in pup if box.part == "decode head" and len(box.shape) == 3]
    assert sides == sorted(sides) and set(sides) == {32, 64, 128, 256, 512}


@pytest.mark.parametrize(
    "name, stations",
    [
        ("segmenter_vit_t", ["257 × 128", "128 × 16 × 16", "5 × 16 × 16"]),
        ("setr_mla", ["256 × 160", "4 of 64 × 16 × 16", "5 × 64 × 64"]),
    ],
)
def test_shapes_on_the_way_of_a_crop(name, stations):
    network = models.build(name, 5, scale="mini")
    table = drawings.shapes(network.eval(), torch.zeros(1, 3, 128, 128))
    assert table.loc[["tokens", "features", "class masks"], "shape"].tolist() == stations
    ends = ["3 × 128 × 128", "5 × 128 × 128", "128 × 128"]
    assert table.loc[["crop", "logits", "label map"], "shape"].tolist() == ends
    assert not any(module._forward_hooks for module in network.modules())


def test_a_convolutional_network_has_no_tokens_on_the_way():
    network = models.build("unet", 5, scale="mini")
    assert "tokens" not in drawings.shapes(network.eval(), torch.zeros(1, 3, 64, 64)).index


def test_figures_are_written_where_figures_go(tmp_path):
    for draw in (drawings.fig1_segmenter, drawings.fig2_setr, drawings.fig3_decoders):
        draw("toy", tmp_path)
    assert len([*tmp_path.glob("runs/toy/figures/fig[123]_*.png")]) == 3


@pytest.mark.parametrize("name", ["segmenter_vit_t", "setr_mla"])
def test_a_photo_goes_through_any_transformer(name, tmp_path):
    model = models.build(name, scale="mini").eval()
    photo = np.random.default_rng(0).integers(0, 256, (90, 61, 3), np.uint8)
    figure = photo_steps.fig_one_photo("toy", model, photo, tmp_path)
    titles = [axes.get_xlabel() for axes in figure.axes]
    assert titles[0] == "1. 128 × 87 pixels" and titles[1] == "2. 16 × 11 patches"
    assert len(figure.axes) == 8 and (tmp_path / "runs/toy/pictures/fig_one_photo.png").is_file()
    assert not any(layer._forward_hooks for layer in model.backbone.layers)


def test_convolutional_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unet is convolutional: only transformers are drawn."):
        drawings.blocks("unet")
    model = models.build("unet", scale="mini").eval()
    with pytest.raises(ValueError, match="it has no patches to show"):
        photo_steps.fig_one_photo("toy", model, np.zeros((32, 32, 3), np.uint8), tmp_path)
