"""Recipes say whose each number is; runs can be stopped, resumed, refused and repeated."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from soak import WATCHDOG
from tiny import TINY, recipe

from fashionlib import models, train
from fashionlib.core import paths
from fashionlib.reproduce import plan
from fashionlib.train import Recipe, RunRefused, run_folder, runner
from fashionlib.train.allowed import today
from fashionlib.train.describe import recipe_page


def weights(folder, epoch):
    return load_file(folder / f"epoch_{epoch}.safetensors")


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def assert_same_history(*folders) -> None:
    one, other = (pd.read_csv(f / "history.csv").drop(columns=["seconds", "memory_mb"]) for f in folders)
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# ------------------------------------------------------------------ recipes

STATED = {  # section III-C of the paper
    "segmenter_vit_t": 8, "segmenter_vit_b": 4, "setr_mla": 2, "setr_pup": 2,
}  # fmt: skip

AS_THE_PAPER = dict(options=dict(class_set="main", max_side=None, fractions=[0.7, 0.2, 0.1]))


@pytest.mark.parametrize(("model", "batch"), STATED.items())
def test_the_papers_recipe(model, batch):
    paper = Recipe.from_preset("paper", model=model, data="imaterialist", init="ade20k")
    stated = dict(batch=batch, epochs=15, optimizer="SGD", lr=1e-3, momentum=0.9, schedule="poly")
    shipped = dict(power=0.9, weight_decay=0.0, min_lr=1e-4, cat_max_ratio=0.75, photometric=True)
    shipped |= dict(test_mode="slide", test_resize=(2048, 512), resize_range=(0.5, 2.0), crop=(512, 512))
    assert (stated | shipped).items() <= vars(paper).items()
    assert paper.head_lr_mult == (10.0 if "setr" in model else 1.0)
    table = train.describe(paper)
    assert set(table.loc[["epochs", "batch", "lr", "optimizer", "crop"], "provenance"]) == {"paper"}
    assert set(table.loc[["weight_decay", "min_lr"], "provenance"]) == {"MMSegmentation config"}
    assert "This is the paper's run" in train.headline(paper, AS_THE_PAPER)
    for option in (dict(max_side=1024), dict(class_set="person"), dict(fractions=[0.8, 0.1, 0.1])):
        smaller = dict(options=AS_THE_PAPER["options"] | option)
        assert "This is not the paper's run" in train.headline(paper, smaller)


def test_a_table_lists_what_applies_and_the_page_credits_the_paper():
    quick = train.describe(recipe()).index
    paper = train.describe(Recipe.from_preset("paper", model="setr_mla", data="x")).index
    assert not {"momentum", "power"} & set(quick) and {"momentum", "power"} <= set(paper)
    whose = {line.split(" | ")[0].strip("| "): line for line in recipe_page().splitlines() if "|" in line}
    assert "section III-C" in recipe_page() and "section IV" not in recipe_page()
    for stated in ("loss", "patch", "GPUs", "initial weights", "lr", "crop"):
        assert whose[stated].endswith("| paper |"), stated


def test_the_committed_recipe_page_is_what_the_shipped_configs_say():
    assert (paths.PROJECT / "results" / "recipe.md").read_text() == recipe_page()


def test_other_rows_follow_their_own_config():
    naive = Recipe.from_preset("paper", model="setr_naive", data="imaterialist")
    unet = Recipe.from_preset("paper", model="unet", data="imaterialist")
    large = Recipe.from_preset("paper", model="segmenter_vit_l", data="imaterialist")
    assert naive.lr == 0.01 and naive.head_lr_mult == 10
    assert (unet.lr, unet.weight_decay) == (0.01, 5e-4)
    assert (large.crop, large.resize_base, large.test_resize) == ((512, 512), (2048, 512), (2048, 512))
    assert large.origin["crop"] == "ours"  # its own config has 640, as under every other preset
    fine = Recipe.from_preset("finetune", model="segmenter_vit_l", data="ccp")
    assert fine.crop == (640, 640)


def test_a_presets_crop_follows_the_patch():
    made = {
        (patch, preset): Recipe.from_preset(preset, model="setr_vit_s_pup", data="ccp", patch=patch).crop
        for patch in (None, 8, 14, 16) for preset in ("study", "finetune")
    }  # fmt: skip
    assert made[14, "study"] == made[None, "study"] == (224, 154)
    assert made[8, "study"] == made[16, "study"] == (224, 160)
    assert [made[patch, "finetune"][0] for patch in (None, 8, 14, 16)] == [518, 520, 518, 512]


@pytest.mark.parametrize("change", [dict(photos=20), dict(epochs=3), dict(lr=0.01), dict(preset="quick")])
def test_nothing_else_passes_for_the_papers_run(change):
    given = dict(preset="paper", model="setr_mla", data="imaterialist", init="ade20k") | change
    assert "This is not the paper's run" in train.headline(
        Recipe.from_preset(given.pop("preset"), **given), AS_THE_PAPER
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(epochz=3), "Unknown setting 'epochz'. Did you mean 'epochs'"),
        (dict(epochs=0), "epochs=0: must be a whole number above 0"),
        (dict(crop=7), "crop=7: must be two whole numbers above 0"),
        (dict(crop=[0, 0]), r"crop=\(0, 0\): must be two whole numbers above 0"),
        (dict(crop=[128]), r"crop=\(128,\): must be two"),
        (dict(crop=[128.0, 128]), r"crop=\(128.0, 128\): must be two whole"),
        (dict(lr="fast"), "lr='fast': must be a number above 0"),
        (dict(lr=float("nan")), "lr=nan: must be a number above 0"),
        (dict(lr=float("inf")), "lr=inf: must be a number above 0"),
        (dict(seed=-1), "seed=-1: must be a whole number of 0 or more, at most 4294967295"),
        (dict(epochs=True), "epochs=True: must be a whole number"),
        (dict(flip=1.5), "flip=1.5: must be a number of 0 or more, at most 1"),
        (dict(clip_grad="none"), "clip_grad='none': must be a number above 0, or None"),
        (dict(resize_range=[2.0, 0.5]), "the smaller number comes first"),
        (dict(photometric="yes"), "photometric='yes': must be True or False"),
        (dict(trust_checkpoint=1), "trust_checkpoint=1: must be True or False, or None"),
        (dict(scale=["mini"]), r"scale=\('mini',\): must be a text"),
        (dict(model=["unet"]), r"model=\['unet'\]: must be a text"),
        (dict(variant="a/b"), "'segmenter_vit_t-mini-none-a/b' can't name a folder"),
        (dict(batch=7, accumulate=2), "batch=7 can't be shared by gpus=1 x accumulate=2"),
        (dict(crop=[130, 128]), "multiples of the patch size 8"),
        (dict(patch=8), "patch=8: models at scale mini always have patches of 8"),
        (dict(scale="full", patch=7), "patch=7: must be 8, 14 or 16"),
        (dict(model="unet", patch=8), "patch=8: unet is convolutional"),
        (dict(scale="full", patch=14, crop=[512, 512]), "multiples of the patch size 14"),
        (dict(norm="group"), "norm='group': segmenter_vit_t has no batch norm"),
        (dict(model="unet", norm="layer"), "Unknown norm 'layer'"),
        (dict(freeze=13), "freeze=13: segmenter_vit_t has 4 transformer layers"),
        (dict(model="unet", freeze=1), "unet has 0 transformer layers"),
        (dict(loss="lovas"), "Unknown loss 'lovas'. Did you mean 'lovasz'"),
        (dict(class_weight="inverted"), "Unknown class_weight 'inverted'. Did you mean 'inverse'"),
        (dict(loss="focal", class_weight="inverse"), "'inverse' is for cross-entropy, not loss='focal'"),
        (dict(model="detail_vit_s", loss="dice"), "detail_vit_s has a loss of its own: leave out loss"),
        (dict(memory="lean"), 'memory is called activation_checkpointing now: True for "lean", False'),
        (dict(balance=0.1), "balance is called oversample_thr now: the same number"),
        (dict(lr="1e-4"), r"lr='1e-4': must be a number above 0. In YAML write 1.0e-4\."),
        (dict(model="setr_mini"), "Unknown model 'setr_mini'"),
    ],
)
def test_a_recipe_checks_itself(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        recipe(**change)


@pytest.mark.parametrize("name", [f.name for f in fields(Recipe) if f.name not in ("data", "origin")])
def test_every_setting_refuses_a_value_of_another_kind_and_names_itself(name):
    for value in ({"a": 1}, -1, [None, "x"]):
        with pytest.raises(ValueError, match=rf"^{name}="):
            Recipe.from_preset(**{**TINY, "preset": "quick", name: value})


SMALL = {  # what the drawn sample's committed runs were trained with
    "segmenter_vit_t": (3e-4, 10, 8), "segmenter_vit_b": (3e-4, 10, 8),
    "setr_mla": (1e-3, 8, 4), "setr_pup": (1e-3, 8, 4),
}  # fmt: skip


@pytest.mark.parametrize("model", SMALL)
def test_notebook_and_plan_mean_the_run_that_was_trained(model):
    planned = [plan.recipe({"data": "sample", **given}) for given in plan.read("sample")[plan.TRAIN]]
    (ours,) = (recipe for recipe in planned if recipe.model == model)
    assert (ours.lr, ours.epochs, ours.batch, ours.precision) == (*SMALL[model], "fp32")
    assert ours == plan.recipe({"model": model})  # notebook 03 with no other parameter
    assert not {"lr", "epochs", "batch", "precision"} & {n for n, w in ours.origin.items() if w == "given"}


@pytest.mark.parametrize("data", ["sample", "ccp"])
def test_a_plan_keeps_the_values_of_its_committed_runs(data):
    published = json.loads((paths.published_results(data) / "run.json").read_text())["runs"]
    for given in plan.read(data)[plan.TRAIN]:
        planned = plan.recipe({"data": data, **given})
        trained = today(published.pop(planned.name)["recipe"])
        assert {name: planned.to_dict()[name] for name in trained} == trained
    assert not published


def test_a_recipe_survives_json_and_names_its_run():
    ours = recipe(photos=3, crop=[128, 64])
    assert Recipe.from_dict(json.loads(json.dumps(ours.to_dict()))) == ours
    assert ours.name == "segmenter_vit_t-mini-none-3photos"


@pytest.mark.parametrize("scale, model", [("mini", "segmenter_vit_t"), ("full", "unet")])
def test_key_settings_are_a_run_s_own_values_and_what_they_mean(scale, model):
    recipe = Recipe.from_preset("quick", model=model, data="toy", scale=scale, lr=2e-4)
    table = train.key_settings(recipe)
    assert set(table.index) <= {field.name for field in fields(Recipe)} and "freeze" not in table.index
    assert table.value["lr"] == "0.0002" and table.provenance["lr"] == "given"
    assert not table.isna().any(axis=None)


def test_rates_are_those_of_the_formulas_in_notebook_03():
    poly = Recipe.from_preset("paper", model="setr_mla", data="imaterialist", init="ade20k")
    at = np.arange(50) / 49
    closed_form = poly.min_lr + (poly.lr - poly.min_lr) * (1 - at) ** poly.power
    np.testing.assert_allclose(train.config.learning_rates(poly, 50), closed_form, rtol=1e-6)
    cosine = Recipe.from_preset("quick", model="unet", data="toy", warmup=0.2)
    rates = train.config.learning_rates(cosine, 50)
    assert rates[0] == pytest.approx(cosine.lr / 1000) and rates[9] == pytest.approx(cosine.lr)
    closed_form = cosine.min_lr + (cosine.lr - cosine.min_lr) / 2 * (1 + np.cos(np.pi * np.arange(40) / 40))
    np.testing.assert_allclose(rates[10:], closed_form, rtol=1e-6)


def test_layer_wise_rates_fall_towards_the_photo():
    fine = Recipe.from_preset("finetune", model="segmenter_vit_s", data="ccp")
    rates = [rate["lr_mult"] for rate in train.config.layer_rates(fine).values()]
    assert rates[:12] == sorted(rates[:12]) and rates[11] == pytest.approx(0.8)
    assert rates[12] == pytest.approx(0.8**13)


def test_optimiser_gets_what_the_recipe_says():
    from mmengine.optim import build_optim_wrapper

    paper = Recipe.from_preset("paper", model="setr_mla", data="imaterialist", scale="mini")
    optimiser = build_optim_wrapper(
        models.build("setr_mla", scale="mini"), train.config.optimiser(paper)
    ).optimizer
    rates = {round(group["lr"], 6) for group in optimiser.param_groups}
    assert rates == {0.001, 0.01} and {group["weight_decay"] for group in optimiser.param_groups} == {0.0}


def test_a_fused_optimiser_is_for_gpus(monkeypatch):
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert train.config.optimiser(recipe())["optimizer"].get("fused", False) == gpu


# ------------------------------------------------------------------ runs


@pytest.fixture(scope="module")
def finished(prepared_home):
    rows = []
    folder = train.train(recipe(), home=prepared_home, progress=False, on_iteration=rows.append)
    return folder, rows


def test_a_run_leaves_what_later_stages_read(finished):
    folder, rows = finished
    history = pd.read_csv(folder / "history.csv")
    assert tuple(history.columns) == runner.HISTORY
    assert history["iter"].tolist() == list(range(1, len(history) + 1)) == [row["iter"] for row in rows]
    assert set(history.epoch) == {1, 2} and history.loss_decode.notna().all()
    assert history.acc.between(0, 100).all()
    meta = models.read_metadata(folder / "epoch_2.safetensors")
    assert meta["epoch"] == 2 and meta["run"] == folder.name and meta["recipe"] == recipe().to_dict()
    assert (folder / "config.py").is_file()
    assert json.loads((folder / "recipe.json").read_text())["fingerprint"]
    assert not (folder / "last.pth").exists()  # of use only to go on


def test_the_rates_drawn_before_a_run_are_those_it_logs(finished):
    logged = pd.read_csv(finished[0] / "history.csv").lr
    np.testing.assert_allclose(train.config.learning_rates(recipe(), len(logged)), logged, rtol=1e-4)


def test_a_finished_run_is_a_no_op_that_says_so(finished, prepared_home, capsys, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started torchrun"))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.*")}
    train.train(recipe(), home=prepared_home)
    train.launch(recipe(gpus=2), home=prepared_home)
    assert capsys.readouterr().out == 2 * f"{folder.name} is finished: nothing is left to train.\n"
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.*")} == before


def test_the_same_seed_gives_the_same_weights(finished, prepared_home):
    again = train.train(recipe(variant="again"), home=prepared_home, progress=False)
    assert same(weights(finished[0], 2), weights(again, 2))
    assert_same_history(finished[0], again)


def test_stopped_inside_an_epoch_and_at_its_end_and_resumed_ends_alike(finished, prepared_home):
    asked = recipe(variant="stopped")
    for last in (2, 4):  # of 4 iterations an epoch

        def stop(row, last=last):
            if row["iter"] == last:
                os.kill(os.getpid(), signal.SIGINT)  # what a notebook's stop button sends

        with pytest.raises(KeyboardInterrupt):
            train.train(asked, home=prepared_home, progress=False, on_iteration=stop)
        assert run_folder.newest_state(prepared_home / "runs" / "tiny" / asked.name)["iter"] == last
    folder = train.train(asked, home=prepared_home, progress=False)
    assert same(weights(finished[0], 2), weights(folder, 2))
    assert_same_history(finished[0], folder)


def test_the_loaders_processes_end_with_the_run(prepared_home):
    """A run in a process that trains many, also one that is stopped, leaves none to be waited for."""

    def stop(row):
        if row["iter"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    asked = recipe(variant="workers", workers=2, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train.train(asked, home=prepared_home, progress=False, on_iteration=stop)
    assert not multiprocessing.active_children()
    train.train(asked, home=prepared_home, progress=False)
    assert not multiprocessing.active_children()


def test_a_run_of_an_older_version_goes_on(finished, prepared_home):
    """Its recipe.json has settings under old names, its state a second file and checksums beside it.

    Its first iterations ran on a GPU, where the optimiser is fused.
    """
    asked = recipe(variant="older")

    def stop(row):
        if row["iter"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train.train(asked, home=prepared_home, progress=False, on_iteration=stop)
    folder = prepared_home / "runs" / "tiny" / asked.name
    card = json.loads((folder / "recipe.json").read_text())
    old = {"balance": card["recipe"].pop("oversample_thr"), "memory": "auto"}
    assert (card["recipe"].pop("loss"), card["recipe"].pop("class_weight")) == ("cross_entropy", "none")
    assert card["recipe"].pop("activation_checkpointing") is False
    assert (card["recipe"].pop("patch"), card["recipe"].pop("norm")) == (None, "batch")
    (folder / "recipe.json").write_text(json.dumps(card | {"recipe": card["recipe"] | old}))
    state = run_folder.newest_state(folder)
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = True
    state["optimizer"]["scaler"] = state["optimizer"].pop("loss_scaler")
    torch.save(state, folder / run_folder.LAST)
    for name in run_folder.STATES[1:]:
        (folder / name).write_text("older")
    with pytest.raises(RunRefused, match="its loss is 'cross_entropy', not 'dice'"):
        train.train(recipe(variant="older", loss="dice"), home=prepared_home)
    with pytest.raises(RunRefused, match="its activation_checkpointing is False, not True"):
        train.train(recipe(variant="older", activation_checkpointing=True), home=prepared_home)
    train.train(asked, home=prepared_home, progress=False)
    assert same(weights(finished[0], 2), weights(folder, 2))
    assert not any((folder / name).exists() for name in run_folder.STATES)


def test_another_recipe_in_the_same_folder_is_refused(finished, prepared_home):
    with pytest.raises(RunRefused, match="its lr is 0.0003, not 0.002.*variant=.*overwrite=True"):
        train.train(recipe(lr=0.002), home=prepared_home, progress=False)


def test_a_torn_recipe_is_refused_and_can_be_replaced(prepared_home):
    asked = recipe(variant="unreadable", epochs=1, photos=4)
    folder = train.train(asked, home=prepared_home, progress=False)
    (folder / "recipe.json").write_text('{"recipe": ')
    with pytest.raises(RunRefused, match=r"recipe\.json is not valid JSON .*variant=.*overwrite=True"):
        train.train(asked, home=prepared_home, progress=False)
    train.train(asked, home=prepared_home, progress=False, overwrite=True)
    assert json.loads((folder / "recipe.json").read_text())["recipe"] == asked.to_dict()


def test_overwriting_begins_again(finished, prepared_home):
    asked = dict(variant="over", epochs=1, photos=4)
    folder = train.train(recipe(**asked), home=prepared_home, progress=False)
    train.train(recipe(**asked, lr=0.5), home=prepared_home, progress=False, overwrite=True)
    assert json.loads((folder / "recipe.json").read_text())["recipe"]["lr"] == 0.5
    assert len(pd.read_csv(folder / "history.csv")) == 1


def test_weights_before_the_first_iteration_are_the_loaded_ones(finished, prepared_home, monkeypatch):
    """MMEngine's Runner calls init_weights() again after building: it must not undo what was loaded."""
    start = finished[0] / "epoch_1.safetensors"
    seen = {}
    original = runner.FashionRunner.load_or_resume

    def spy(self):
        original(self)
        seen.update({key: value.clone() for key, value in self.model.state_dict().items()})

    monkeypatch.setattr(runner.FashionRunner, "load_or_resume", spy)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked for the network"))
    train.train(recipe(init=str(start), epochs=1), home=prepared_home, progress=False)
    assert same(seen, weights(finished[0], 1))


def test_accumulated_gradients_are_those_of_the_large_batch(prepared_home, monkeypatch):
    monkeypatch.setattr("mmcv.cnn.bricks.drop.DropPath.forward", lambda self, x: x)  # draws by batch
    still = dict(epochs=1, batch=4, photos=4, optimizer="SGD", lr=0.1, warmup=0.0, clip_grad=None)
    folder = {}
    for accumulate in (1, 2):
        folder[accumulate] = train.train(
            recipe(accumulate=accumulate, model="segmenter_vit_t_linear", variant=f"x{accumulate}", **still),
            home=prepared_home,
            progress=False,
        )
    one, two = (weights(folder[accumulate], 1) for accumulate in (1, 2))
    moved = max((one[key] - two[key]).abs().max().item() for key in one)
    assert moved < 1e-6


def test_estimate_projects_the_run(prepared_home):
    cost = train.estimate(recipe(), home=prepared_home, iterations=2)
    assert cost["iterations"] == 2 * -(-14 // 4) and cost["batch_that_fits"] > 4
    assert cost["seconds_per_iteration"] > 0 and 0.01 < cost["peak_gb"] < 5


PROCESS = Path(__file__).parents[1] / "process.py"  # torchrun starts it: no drop path, a death if asked


def test_two_processes_train_as_one(prepared_home, monkeypatch):
    """torchrun on the CPU: the same photos in the same batches, so the same losses for 20 steps.

    Without batch norm, whose statistics are each process's own, and drop path, whose draws are.
    """
    still = dict(epochs=5, batch=4, model="segmenter_vit_t_linear", optimizer="SGD", lr=0.01, clip_grad=None)
    monkeypatch.setattr("mmcv.cnn.bricks.drop.DropPath.forward", lambda self, x: x)
    monkeypatch.setattr(train.run, "_PROCESS", (str(PROCESS),))
    alone = train.train(recipe(variant="one", **still), home=prepared_home, progress=False)
    both = train.launch(recipe(variant="two", gpus=2, **still), home=prepared_home)
    one, two = (pd.read_csv(folder / "history.csv") for folder in (alone, both))
    assert len(one) == len(two) >= 20
    assert (one.loss - two.loss).abs().max() < 1e-4 and (one.loss_decode - two.loss_decode).abs().max() < 1e-4
    assert one.loss.iloc[0] - one.loss.iloc[-1] > 0.01  # and they are those of a network that learns
    last, second = weights(alone, 5), weights(both, 5)
    assert all(torch.allclose(value, second[key], atol=1e-4) for key, value in last.items())


def test_setr_trains_on_two_cpu_processes_and_the_death_of_one_ends_both(prepared_home, monkeypatch, capfd):
    """BatchNorm in SyncBN's place and one warning; in the second epoch one of the two fails."""
    monkeypatch.setattr(train.run, "_PROCESS", (str(PROCESS),))
    monkeypatch.setenv("DEATH_OF", "1")
    asked = recipe(model="setr_naive", variant="dies", gpus=2, epochs=2, photos=4)
    begun = time.monotonic()
    words = r"exit code 1: process 1: OSError: the disk of rank 1 is gone\. .* the same call goes on"
    with pytest.raises(RuntimeError, match=words) as error:
        train.launch(asked, home=prepared_home)
    assert time.monotonic() - begun < WATCHDOG  # not the half hour that gloo gives a silent process
    folder = prepared_home / "runs" / "tiny" / asked.name
    assert str(folder) in str(error.value)
    assert any("running_mean" in name for name in weights(folder, 1))
    assert capfd.readouterr().err.count("BatchNorm instead of SyncBN") == 1


def test_on_gpus_setr_keeps_syncbn():
    norms = {}
    for sync in (False, True):
        modules = models.build("setr_naive", scale="mini", sync_bn=sync).modules()
        norms[sync] = [m for m in modules if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms[True]) == len(norms[False]) > 0
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms[True])
    assert not any(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms[False])


def test_a_run_with_another_norm_leaves_checkpoints_that_say_so(prepared_home):
    asked = recipe(model="setr_naive", norm="group", variant="group", epochs=1, photos=4)
    folder = train.train(asked, home=prepared_home, progress=False)
    loaded = models.load(folder / "epoch_1.safetensors")
    assert loaded.metadata["norm"] == "group" and loaded.metadata["patch"] is None
    norms = {type(module) for module in loaded.decode_head.modules()}
    assert torch.nn.GroupNorm in norms and torch.nn.BatchNorm2d not in norms


def test_frozen_layers_stay_and_the_others_learn(prepared_home):
    asked = recipe(freeze=2, epochs=2, photos=8, weight_decay=0.05, variant="frozen")
    first, last = (weights(train.train(asked, home=prepared_home, progress=False), n) for n in (1, 2))
    still = {name for name in first if torch.equal(first[name], last[name])}
    lower = ("backbone.patch_embed", "backbone.cls_token", "backbone.pos_embed", "backbone.layers.0.",
             "backbone.layers.1.")  # fmt: skip
    assert still == {name for name in first if name.startswith(lower)} and still < set(first)


@pytest.mark.parametrize(
    "given",
    [dict(loss=loss) for loss in ("focal", "lovasz", "dice")]
    + [dict(class_weight="inverse"), dict(class_weight="sqrt_inverse", loss="lovasz", precision="bf16")],
)
def test_every_loss_trains_and_is_logged(finished, prepared_home, given):
    asked = recipe(epochs=1, photos=8, variant="-".join(given.values()), **given)
    folder = train.train(asked, home=prepared_home, progress=False)
    rows, plain = pd.read_csv(folder / "history.csv"), pd.read_csv(finished[0] / "history.csv")
    assert len(rows) == 2 and (rows.loss == rows.loss_decode).all()  # no auxiliary heads; the sum of two
    assert rows.loss.between(0.01, 10).all() and (rows.loss[0] != plain.loss[0])
    weights = models.read_metadata(folder / "epoch_1.safetensors").get("class_weights")
    assert weights == train.config.class_weights(asked, prepared_home / "data" / "tiny")
    assert (weights is not None) == ("class_weight" in given)


def test_compile_compiles_the_encoder_in_place(prepared_home, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: asked.append(type(module).__name__))
    folder = train.train(recipe(compile=True, epochs=1, photos=8), home=prepared_home, progress=False)
    assert asked == ["VisionTransformer"] and (folder / "epoch_1.safetensors").is_file()


def test_fp16_scales_its_loss_and_learns_what_fp32_learns(prepared_home):
    losses, steps = {}, {}
    for precision in ("fp32", "fp16"):
        small = recipe(precision=precision, variant=precision, crop=(64, 64))  # CPUs are slow in fp16
        folder = train.train(small, home=prepared_home, progress=False)
        losses[precision] = pd.read_csv(folder / "history.csv").loss
        first, last = (torch.cat([v.float().flatten() for v in weights(folder, n).values()]) for n in (1, 2))
        steps[precision] = last - first
    assert (losses["fp16"] - losses["fp32"]).abs().max() < 0.05 * losses["fp32"].max()
    assert not losses["fp16"].equals(losses["fp32"])
    assert (steps["fp16"] - steps["fp32"]).norm() < 0.4 * steps["fp32"].norm()  # 1 would be nothing learnt


def test_a_step_whose_fp16_gradients_overflow_is_left_out_and_the_scale_survives_a_stop():
    weight = torch.nn.Parameter(torch.ones(1))
    make = lambda: runner.AutocastOptimWrapper(  # noqa: E731
        "fp16", optimizer=torch.optim.SGD([weight], lr=0.1), clip_grad=dict(max_norm=1.0)
    )
    wrapper = make()
    before = wrapper.loss_scaler.get_scale()
    wrapper.update_params((weight * float("inf")).sum())
    assert weight.item() == 1 and wrapper.loss_scaler.get_scale() == before / 2
    wrapper.update_params((3 * weight).sum())
    assert abs(weight.item() - 0.9) < 1e-6  # a gradient of 3, clipped to 1 after it was scaled down again
    other = make()
    other.load_state_dict(wrapper.state_dict())
    assert other.loss_scaler.get_scale() == before / 2
