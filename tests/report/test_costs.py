"""Arithmetic counted by hand, and the table of what runs cost."""

import json

import fake_runs
import pandas as pd
import pytest
from fake_runs import DATA, make_data, make_run

from fashionlib import evaluate, report
from fashionlib.core import paths
from fashionlib.report.costs import table
from fashionlib.train import Recipe


def test_a_vit_s_at_224_is_what_a_hand_counts():
    """4.6 billion multiply-adds: patch embedding, 12 layers of 197 tokens, and the linear decoder."""
    recipe = Recipe.from_preset("study", model="segmenter_vit_s_linear", data="x", patch=16, crop=[224, 224])
    tokens, patches, d = 14 * 14 + 1, 14 * 14, 384
    layer = 12 * tokens * d * d + 2 * tokens * tokens * d  # qkv 3, projection 1, MLP 8; scores and values
    by_hand = patches * (16 * 16 * 3) * d + 12 * layer + patches * d * 28
    assert report.flops(recipe) == 2 * by_hand == pytest.approx(9.2e9, rel=0.001)


def test_windows_are_counted_and_a_whole_photo_is_larger_than_a_crop():
    slide = Recipe.from_preset("quick", model="segmenter_vit_t", data="x", scale="mini", test_mode="slide")
    assert report.flops(slide, tested=True) == 2 * report.flops(slide)  # 192 x 128: two windows of 128
    whole = Recipe.from_preset("study", model="setr_vit_s_pup", data="x")
    assert report.flops(whole, tested=True) > 1.5 * report.flops(whole)  # 420 x 280 and 224 x 154


def test_costs_of_tested_runs(tmp_path, monkeypatch):
    make_data(tmp_path)
    folder = make_run(tmp_path)
    card = json.loads((folder / "recipe.json").read_text())
    made = Recipe.from_preset("quick", model="segmenter_vit_t", data=DATA, scale="mini", epochs=3, batch=2)
    card |= dict(recipe=made.to_dict(), versions=dict(device="AMD EPYC, 2 threads", precision="fp32"))
    (folder / "recipe.json").write_text(json.dumps(card))
    fake_runs.fake_models(monkeypatch)
    evaluate.validate(DATA, home=tmp_path, progress=False)
    evaluate.pick_epochs(DATA, home=tmp_path)
    evaluate.test(DATA, home=tmp_path, progress=False)
    (row,) = report.costs(DATA, home=tmp_path).itertuples()
    seconds = pd.read_csv(folder / "history.csv").seconds.median() / 2
    assert row.train_seconds_per_photo == pytest.approx(seconds)
    assert row.train_wh == pytest.approx(
        seconds * pd.read_csv(folder / "history.csv").epoch.max() * 6 * 2 * 20 / 3600
    )
    assert row.crop_flops == report.flops(made)
    page = (paths.results_folder(DATA, tmp_path) / "costs.md").read_text()
    assert row.run in page and "an estimate" in page and "counted as two" in page


def test_rows_of_studies_on_a_gpu_have_no_energy_and_a_lost_config_no_arithmetic():
    made = Recipe.from_preset("quick", model="segmenter_vit_t", data=DATA, scale="mini").to_dict()
    row = dict(run="r", device="NVIDIA H200", precision="bf16", parameters=1e6, epochs=2, train_photos=10)
    row |= dict(seconds_per_step=16.0, seconds_per_photo=0.1, peak_memory_mb=500, recipe=json.dumps(made))
    lost = row | dict(recipe=json.dumps(made | dict(model="lost.py")), device="Xeon, 4 threads")
    found = table(pd.DataFrame([row, lost]))
    assert found.train_seconds_per_photo.tolist() == [2.0, 2.0]
    assert found.train_wh.isna().tolist() == [True, False] and found.crop_flops.isna().tolist() == [
        False,
        True,
    ]
