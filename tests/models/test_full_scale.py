"""The published architectures on real photos: a step of each of the paper's four, at 512 x 512."""

import pytest
import torch
from conftest import CCP, needs_ccp
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from fashionlib import models, train
from fashionlib.data.prepare import prepare
from fashionlib.data.sources import ccp


@pytest.fixture(scope="module")
def real_photos(tmp_path_factory):
    """Ten labelled street photos, prepared."""
    home = tmp_path_factory.mktemp("real")
    few = home / "few"
    for part in ("photos", "annotations/pixel-level"):
        (few / part).mkdir(parents=True)
    (few / "label_list.mat").symlink_to(CCP / "label_list.mat")
    for mat in sorted((CCP / "annotations" / "pixel-level").iterdir())[:10]:
        (few / "annotations" / "pixel-level" / mat.name).symlink_to(mat)
        (few / "photos" / f"{mat.stem}.jpg").symlink_to(CCP / "photos" / f"{mat.stem}.jpg")
    ccp.convert(few, home / "raw" / "few", workers=1, progress=False)
    prepare(home / "raw" / "few", home / "data" / "few", workers=1, progress=False)
    return home / "data" / "few"


@needs_ccp
@pytest.mark.parametrize("name", models.PAPER)
def test_one_step_of_the_papers_recipe(name, real_photos):
    recipe = train.Recipe.from_preset("paper", model=name, data="few", batch=1, workers=0)
    assert recipe.crop == (512, 512) and recipe.scale == "full"
    model = models.build(name, 28, "full", "none", recipe.crop, activation_checkpointing=True)
    model.train()
    wrapper = build_optim_wrapper(model, train.config.optimiser(recipe))
    batch = next(iter(Runner.build_dataloader(train.config.loader(recipe, str(real_photos)))))
    assert batch["inputs"][0].shape == (3, 512, 512)
    watched = model.backbone.layers[0].attn.attn.in_proj_weight
    before = watched.detach().clone()
    losses = model.train_step(batch, wrapper)
    assert torch.isfinite(losses["loss"]) and 0.5 < float(losses["decode.loss_ce"]) < 10
    assert not torch.equal(before, watched)  # the gradient reached the encoder's first layer
