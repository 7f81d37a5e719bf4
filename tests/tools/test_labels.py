"""Judged labels: who is chosen, what a sheet shows, and scores without the wrong label maps."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import DATA, make_data

from fashionlib.core.classes import CLASSES
from fashionlib.core.files import write_csv
from fashionlib.core.paths import PROJECT
from fashionlib.evaluate import areas
from tools import labels
from tools.labels import scores

PHOTOS = [f"{i:02d}" for i in range(12)]  # the first six of the validation split
HITS = np.arange(5, 65, 5)  # pixels of 100 that runs get right, photo by photo


def table_of(hits) -> pd.DataFrame:
    """Areas of photos with 100 pixels of dress and 100 of background; what is missed is background."""
    rows = []
    for photo, hit in zip(PHOTOS, hits, strict=True):
        split = "val" if photo < PHOTOS[6] else "test"
        rows += [
            (split, 3, photo, "background", 100, 100, 200 - hit),
            (split, 3, photo, "dress", hit, 100, hit),
        ]
    return pd.DataFrame(rows, columns=areas.COLUMNS)


@pytest.fixture
def results(tmp_path):
    runs = {"good": ("dinov2", HITS), "other": ("dinov2", HITS + 1), "random": ("none", HITS[::-1])}
    for run, (_, hits) in runs.items():
        areas.write(areas.path(tmp_path, run), table_of(hits))
    picked = [dict(run=run, epoch=3, init=init, model="segmenter_vit_s") for run, (init, _) in runs.items()]
    table = pd.DataFrame(picked).assign(scale="full")
    table.loc[2, "model"] = "segmenter_vit_t"
    table.loc[1, "model"] = "setr_vit_s_pup"
    write_csv(tmp_path / "picked_epochs.csv", table)
    write_csv(tmp_path / "test.csv", table)
    areas.write(tmp_path / "shipped.csv.gz", table_of(HITS + 30).assign(epoch=0))
    return tmp_path


def test_the_worst_of_the_pretrained_runs_and_random_others_are_chosen_and_shuffled(results):
    table = labels.choose(results, count=4)
    groups = table.groupby("group").photo.apply(set)
    assert groups["largest disagreement"] == set(PHOTOS[:4])
    assert groups["random"] < set(PHOTOS[4:]) and len(groups["random"]) == 4
    assert table.photo.tolist() != sorted(table.photo)
    assert table.equals(labels.choose(results, count=4)) and not table.equals(
        labels.choose(results, 4, seed=1)
    )


def test_sheets_show_predictions_only_when_asked(tmp_path):
    make_data(tmp_path)
    photos = (tmp_path / "data" / DATA / "splits" / "test.txt").read_text().split()[:3]
    assert labels.sheets(photos, DATA, tmp_path / "out", tmp_path) == 2
    assert labels.sheets(photos, DATA, tmp_path / "out", tmp_path, lambda image: image[..., 0] * 0) == 2
    names = ["prediction_01.png", "prediction_02.png", "truth_01.png", "truth_02.png"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names


def test_shares_of_a_label_map():
    label_map = np.array([[0, 2, 2, 255, 1, 0, 0, 0, 0, 0]], np.uint8)
    assert labels._shares(label_map, ["background", "shirt", "top"]) == "top 20.0, shirt 10.0"


@pytest.mark.parametrize(("column", "value"), [("group", "best"), ("truth", ""), ("cause", "both sides")])
def test_a_photo_without_a_valid_verdict_is_named(tmp_path, column, value):
    row = {"photo": "07", "group": "random", "truth": "right", "cause": "none", "note": ""}
    write_csv(tmp_path / "v.csv", pd.DataFrame([row | {"photo": "01"}, row | {column: value}]))
    with pytest.raises(ValueError, match=f"{column} of photo 07 is '{value}', not one of"):
        labels.read_verdicts(tmp_path / "v.csv")


def test_scores_without_what_is_wrong_are_those_of_the_other_photos(results):
    photos, found = scores.counts(results, ("test",), results / "shipped.csv.gz")
    assert photos == PHOTOS[6:]
    rows = ["Segmenter ViT-S", "SETR ViT-S PUP", "Segmenter ViT-T", scores.SHIPPED, scores.FLOOR]
    assert list(found) == rows and len(scores.counts(results, ("val", "test"), results)[1]) == 4
    wrong = np.isin(photos, PHOTOS[6])
    for name, hits in (
        ("Segmenter ViT-S", HITS[6:]),
        (scores.SHIPPED, HITS[6:] + 30),
        (scores.FLOOR, 0 * HITS[6:]),
    ):
        row = scores.without(found[name], wrong, "aAcc")
        assert row["official"] == pytest.approx((100 + hits.mean()) / 200)
        assert row["without"] == pytest.approx((100 + hits[1:].mean()) / 200)
        assert row["change"] == pytest.approx(row["without"] - row["official"])
        if hits.any():
            assert row["low"] <= row["change"] <= row["high"] and row["low"] < row["high"]
        else:
            assert np.isnan(row["low"])
    assert CLASSES.index("background") == 0


def test_shuffled_verdicts_stay_among_the_judged_photos_of_a_group(results):
    _, found = scores.counts(results, ("val", "test"), results)
    groups = np.array([labels.GROUPS[0]] * 3 + [np.nan] * 6 + [labels.GROUPS[1]] * 3, object)
    wrong = np.arange(12) == 1
    row = scores.shuffled(found["Segmenter ViT-S"], wrong, groups, "aAcc")
    changes = [np.delete(HITS, i).mean() / 200 - HITS.mean() / 200 for i in range(3)]
    assert row["shuffled"] == pytest.approx(np.mean(changes), abs=1e-4)
    assert row["p"] == pytest.approx(2 / 3, abs=0.1)  # the first two of the three raise aAcc as much or more


def test_the_page_counts_verdicts(results):
    verdicts = labels.choose(results, count=4).assign(truth="right", cause="model", note="")
    verdicts.loc[verdicts.photo.isin(PHOTOS[:2]), "truth"] = "wrong"
    table = scores.table(results, verdicts, results / "shipped.csv.gz")
    assert len(table) == 2 * 3 * (5 + 4)
    judged = table[(table.split == "val and test") & (table.truth == "wrong")]
    assert (judged.left_out == 2).all() and (judged.photos == 12).all()
    page = scores.page(verdicts, table)
    assert "in 2 of the 4 photos of largest disagreement (15 to 85 %) and in 0 of the 4 photos drawn" in page
    assert "For all 12 photos that makes 17 % (17 to 49 %) wrong" in page
    assert "| largest disagreement | 2 | 0 | 2 | 4 | 0 | 0 | 0 |" in page
    assert "**Val and test photos, 2 of 12 left out**" in page


def test_rows_that_change_places_are_told():
    table = pd.DataFrame({"official": [0.5, 0.52, 0.9], "without": [0.6, 0.59, 0.9], "split": "test"})
    same = table.assign(without=table.official)
    tables = [(same, "mIoU"), (table, "aAcc"), (same, "apparel IoU")]
    assert scores._order(pd.concat([each.assign(measure=measure) for each, measure in tables])) == (
        "Without the wrong ones the order of Table I's rows by mIoU and by apparel IoU stays the same; "
        "by aAcc rows that are up to 2.00 points apart change places."
    )


def test_the_committed_page_is_what_its_verdicts_and_scores_say():
    folder = PROJECT / "results" / "ccp" / "labels"
    verdicts, table = labels.read_verdicts(folder / "verdicts.csv"), pd.read_csv(folder / "labels.csv")
    assert verdicts.group.value_counts().eq(30).all()
    assert (folder / "labels.md").read_text(encoding="utf-8") == scores.page(verdicts, table)
