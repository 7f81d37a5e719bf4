"""The cut-out model's own modules: a stem beside the ViT, and a head that joins tokens and pixels."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.backbones import VisionTransformer
from mmseg.models.losses import LovaszLoss
from mmseg.structures import SegDataSample

from fashionlib import models

X = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = models.build("detail_vit_s", 6, scale="mini")
    built.backbone.train(False)
    built.decode_head.train(False)
    return built


def samples(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def test_the_stem_stands_beside_a_vit_that_answers_as_ever(model):
    *tokens, half, quarter = model.backbone(X)
    alone = VisionTransformer.forward(model.backbone, X)
    assert all(torch.equal(a, b) for a, b in zip(tokens, alone, strict=True))
    assert half.shape == (2, 16, 64, 64) and quarter.shape == (2, 32, 32, 32)


def test_logits_are_four_times_as_fine_as_the_tokens(model):
    features = model.backbone(X)
    assert model.decode_head(features).shape == (2, 6, 4 * 16, 4 * 16) and features[0].shape[2:] == (16, 16)


def test_a_change_of_one_pixel_inside_a_patch_moves_the_edge_not_only_the_patch(model):
    moved = X.clone()
    moved[:, :, 60:62, 60:62] += 3
    changed = (model.decode_head(model.backbone(moved)) - model.decode_head(model.backbone(X))).abs().sum(1)
    patch = changed[0, 28:32, 28:32]  # the 4 x 4 logits of the pixel's own patch
    assert patch.max() > 1.5 * patch.min()  # from tokens alone they could only move together, interpolated


def test_the_loss_is_cross_entropy_and_lovasz_softmax(model):
    head = model.decode_head
    label = torch.randint(0, 6, (2, 64, 64), generator=torch.Generator().manual_seed(1))
    label[:, :9] = 255
    logits = torch.randn(2, 6, 64, 64, generator=torch.Generator().manual_seed(2))  # the label map's own size
    found = head.loss_by_feat(logits, samples(label))
    entropy = F.cross_entropy(logits, label, ignore_index=255, reduction="sum") / label.numel()
    lovasz = LovaszLoss(loss_type="multi_class", reduction="none", per_image=False)(logits, label)
    assert torch.allclose(found["loss_ce"], entropy, atol=1e-5)
    assert torch.allclose(found["loss_lovasz"], head.lovasz * lovasz, atol=1e-5)


def test_lovasz_is_lower_for_the_answer_with_the_better_iou(model):
    label = torch.zeros(1, 64, 64, dtype=torch.long)
    label[:, 20:24, 20:24] = 1  # a belt
    found = F.one_hot(label, 6).permute(0, 3, 1, 2) * 8.0
    missed = F.one_hot(0 * label, 6).permute(0, 3, 1, 2) * 8.0
    a, b = (model.decode_head.loss_by_feat(x, samples(label)) for x in (found, missed))
    assert b["loss_lovasz"] - a["loss_lovasz"] > 0.2 and b["loss_ce"] - a["loss_ce"] < 0.1
