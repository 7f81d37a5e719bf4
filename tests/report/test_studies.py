"""Pages, figures and verdicts of studies, from a made folder of results whose scores are known."""

import numpy as np
import pandas as pd
import pytest

from fashionlib.core import paths
from fashionlib.core.classes import CLASSES
from fashionlib.evaluate import areas
from fashionlib.report import reproduction, studies
from fashionlib.report.studies import Results

PHOTOS, PIXELS = 12, 100
CLASS = CLASSES[1]
GPU, CPU = dict(device="gpu", precision="bf16"), dict(device="cpu", precision="fp32")


def pixels_of(wrong: int) -> pd.DataFrame:
    """Photos half garment; `wrong` of its 50 pixels are called background, one more in odd photos."""
    rows = []
    for photo in range(PHOTOS):
        missed = wrong + photo % 2
        rows.append(("val", 8, f"{photo}", CLASSES[0], 50, 50, 50 + missed))
        rows.append(("val", 8, f"{photo}", CLASS, 50 - missed, 50, 50 - missed))
    return pd.DataFrame(rows, columns=areas.COLUMNS)


def miou(wrong: int) -> float:
    """mIoU of `pixels_of`: background and the garment."""
    missed = wrong + 0.5
    return np.mean([50 / (50 + missed), (50 - missed) / 50])


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that stores {arm: [(wrong pixels, curve, machine) a seed]} and returns the Results."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    folder = paths.published_results("toy") / "studies"

    def store(runs, by="mIoU", headline=("A", "B"), name="asked"):
        table, epochs = [], []
        for arm, seeds in runs.items():
            for seed, (wrong, curve, machine) in enumerate(seeds):
                run = f"{arm}-s{seed}"
                areas.write(areas.path(folder, run), pixels_of(wrong))
                row = dict(run=run, seed=seed, mIoU=miou(wrong), photos=PHOTOS, max_side=np.nan, epoch=8)
                row |= dict(parameters=2e6, train_seconds=1.0, seconds_per_step=0.1, peak_memory_mb=9)
                table.append(row | dict(commit="0123456789" * 4 + "+changes") | machine)
                epochs += [dict(run=run, epoch=i + 1, mIoU=value) for i, value in enumerate(curve)]
        if table:
            folder.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(table).to_csv(folder / "runs.csv", index=False)
            pd.DataFrame(epochs).to_csv(folder / "epochs.csv", index=False)
        arms = {arm: [f"{arm}-s{seed}" for seed in range(6)] for arm in [*runs, "C"]}
        return Results("toy", name, "Is A better?", {"arms": list(headline), "by": by}, arms, folder)

    return store


def seeds(*wrong, curve=(0.1, 0.2), machine=GPU):
    return [(each, curve, machine) for each in wrong]


def test_means_and_the_difference_with_its_interval(made):
    results = made({"A": seeds(10, 11, 12), "B": seeds(20, 21, 22)})
    sentence = studies.write(results)
    a, b = (np.mean([miou(wrong) for wrong in arm]) for arm in ((10, 11, 12), (20, 21, 22)))
    table = pd.read_csv(results.folder / "asked.csv").set_index("arm")
    assert table.mIoU["A"] == pytest.approx(a, abs=1e-5) and table.mIoU["B"] == pytest.approx(b, abs=1e-5)
    assert table.difference["A"] == pytest.approx(a - b, abs=1e-5) and np.isnan(table.difference["B"])
    assert 0 < table.low["A"] < a - b < table.high["A"] and table.pairs["A"] == 3
    told = (
        f'In mIoU, "A" has {100 * a:.1f} and "B" {100 * b:.1f}, a difference of {100 * (a - b):+.1f} points'
    )
    assert (
        sentence.startswith(told) and ": the former is better. 3 seeds; sign-flip test p = 0.25" in sentence
    )
    page = (results.folder / "asked.md").read_text()
    assert page.startswith("# Is A better?\n") and sentence in page and "| – |" in page and "nan" not in page
    assert "commit 0123456789+changes" in page and "`fashionlib study asked --data toy`" in page
    figures = paths.published_figures("toy") / "studies"
    assert {file.name for file in figures.iterdir()} == {"asked.png", "asked.pdf"}


def test_one_seed_says_so_and_equal_arms_are_a_tie(made):
    results = made({"A": seeds(10), "B": seeds(10)})
    assert results.verdict().endswith(": a tie. One seed: nothing is said of another training.")
    assert "±" not in studies._cells(results)["mIoU ± sd"][0]


@pytest.mark.parametrize(
    "runs, lacking", [({}, "no run of it"), ({"A": seeds(10, 11)}, 'no seed of both "A" and')]
)
def test_what_is_lacking_for_the_headline_is_one_sentence(made, runs, lacking, tmp_path):
    results = made(runs)
    assert results.verdict().startswith(f"Not known yet: {lacking}") and results.answer().endswith(
        "--data toy`"
    )
    assert (studies.figure(results, tmp_path) is None) == (not runs)


def test_seeds_of_two_kinds_of_device_are_not_paired(made):
    results = made({"A": seeds(10) + seeds(11, machine=CPU) + seeds(12, machine=CPU), "B": seeds(20, 21, 22)})
    assert results.difference("A", "B").seeds == 1
    assert made({"A": seeds(10, machine=CPU), "B": seeds(20)}).difference("A", "B") is None


def test_irregularity_leaves_out_curves_of_fewer_points(made):
    rough, smooth = (0.1, 0.2, 0.1, 0.2), (0.1, 0.11, 0.12, 0.13)
    runs = {"A": [(10, rough, GPU)] * 3 + [(10, (0.1, 0.2), GPU)], "B": [(10, smooth, GPU)] * 4}
    results = made(runs, by="irregularity")
    found = results.difference("A", "B", "irregularity")
    assert (found.seeds, found.verdict) == (3, "A rougher") and found.difference == pytest.approx(0.09)
    studies.write(results)
    table = pd.read_csv(results.folder / "asked.csv").set_index("arm")
    assert table.irregularity["A"] == pytest.approx(0.1) and table.falls["A"] == pytest.approx(0.1)
    assert "the former is rougher" in results.verdict()


@pytest.mark.parametrize(
    "a, b, verdict, says",
    [
        ((10, 11, 12), (20, 21, 22), "supported", '"A" against "B", mIoU: +'),
        ((20, 21, 22), (10, 11, 12), "the opposite, here", "3 seeds"),
        ((10, 20, 30), (30, 20, 10), "not supported", "; a tie, "),
        ((10,), (), "not testable here", "No seed of both arms of the study `asked` is stored."),
    ],
)
def test_a_claim_is_supported_by_an_interval_on_its_side_alone(made, a, b, verdict, says):
    found = {"asked": made({"A": seeds(*a), "B": seeds(*b)})}
    told, row = reproduction.Pair("asked", "A", "B")(found)
    assert told == verdict and says in row
    assert reproduction.Pair("other", "A", "B")(found)[0] == "not testable here"


def test_arms_that_have_learnt_nothing_test_no_claim(made, monkeypatch):
    found = {"asked": made({"A": seeds(10, 11, 12), "B": seeds(20, 21, 22)})}
    monkeypatch.setattr(reproduction, "LEARNT", miou(11) + 0.01)
    told, row = reproduction.Pair("asked", "A", "B")(found)
    assert told == "not testable here" and "neither has learnt more than the background" in row
    monkeypatch.setattr(reproduction, "LEARNT", miou(11) - 0.01)
    assert reproduction.Pair("asked", "A", "B")(found)[0] == "supported"


def test_one_curve_each_tests_no_claim(made):
    found = {"asked": made({"A": seeds(10), "B": seeds(11)}, by="irregularity")}
    told, row = reproduction.Pair("asked", "A", "B", "irregularity")(found)
    assert told == "not testable here" and "no interval" in row


def test_every_claim_is_on_the_page(monkeypatch, tmp_path):
    project = paths.PROJECT
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    for name in ("ccp/per_class.csv", "cutouts/scores.csv"):
        (tmp_path / "results" / name).parent.mkdir(parents=True)
        (tmp_path / "results" / name).write_bytes((project / "results" / name).read_bytes())
    page = reproduction.write({})
    assert page == (tmp_path / "results/REPRODUCTION.md").read_text()
    assert all(f"| {claim} |" in page for claim, _ in reproduction.CLAIMS) and "{" not in page
