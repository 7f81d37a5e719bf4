"""Table I, histories and figures from fake runs, whose scores are known."""

import inspect
import json
import re

import fake_runs
import numpy as np
import pandas as pd
import pytest
from fake_runs import DATA, make_data, make_run
from PIL import Image

from fashionlib import evaluate, report
from fashionlib.core import paths, run_files
from fashionlib.evaluate import areas, compare
from fashionlib.evaluate.runs import read_picked
from fashionlib.evaluate.score import ERRORS
from fashionlib.report import captions, figures, run_record
from fashionlib.report.table1 import _what_it_is_not

RUNS = ("segmenter_vit_t-mini-none", "segmenter_vit_s-full-dinov2", "setr_mla-mini-none")
OF_DATA = (  # figures without runs
    "fig_class_balance",
    "fig_class_frequency",
    "fig_mask_areas",
    "fig_cooccurrence",
    "fig_label_maps",
    "fig_split",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    make_data(home)
    make_run(home, qualities=(0.3, 0.6, 0.5))
    make_run(home, "setr_mla", qualities=(0.2,) * 7 + (0.7, 0.6))
    make_run(home, "segmenter_vit_s", scale="full", init="dinov2", preset="finetune", qualities=(0.5, 0.75))
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake_runs.fake_models(monkeypatch)
        evaluate.validate(DATA, home=home, progress=False)
        evaluate.pick_epochs(DATA, home=home)
        evaluate.test(DATA, home=home, progress=False)
        yield home


@pytest.fixture(scope="module")
def instances():
    """A raw frame of two photos of 10 x 10: two shirts of 4 and 16 pixels, a belt of 1, a sleeve."""
    rows = [("a", "1 2 11 2", 0), ("b", "1 16", 0), ("b", "1 1", 19), ("b", "5 3", 31)]
    frame = pd.DataFrame(rows, columns=["ImageId", "EncodedPixels", "ClassId"])
    return frame.assign(Height=10, Width=10)


def texts(fig) -> str:
    """All that a figure says."""
    fig.canvas.draw()
    return " ".join(text.get_text() for text in fig.findobj(lambda artist: hasattr(artist, "get_text")))


def drawn(name, home, instances):
    """The figure of a function by its name."""
    function = getattr(report, name)
    known = {"instances": instances, "splits": {"by hand": dict(train=["a"], val=[], test=["b"])}}
    parameters = inspect.signature(function).parameters
    return function(DATA, **{key: known[key] for key in known if key in parameters}, home=home)


@pytest.mark.parametrize("name", [name for name in report.__all__ if name.startswith("fig")])
def test_every_figure_is_written_under_its_name(name, home, instances):
    fig = drawn(name, home, instances)
    folder = paths.pictures_folder if name in ("fig7_inference", "fig_label_maps") else paths.figures_folder
    for suffix in (".png", ".pdf"):
        assert (folder(DATA, home) / f"{name}{suffix}").stat().st_size > 1000
    assert DATA in texts(fig)
    if name not in OF_DATA:
        for stated in ("scale", "init", "epoch", "seed"):
            assert stated in texts(fig), f"{name} does not state {stated}"


def test_a_figure_is_the_same_when_drawn_again(home):
    def drawn_bytes():
        report.fig6_validation_miou(DATA, home=home)
        return [path.read_bytes() for path in paths.figures_folder(DATA, home).glob("fig6*")]

    assert drawn_bytes() == drawn_bytes()


def test_figure_6_marks_our_picks_and_the_papers(home):
    axis = report.fig6_validation_miou(DATA, home=home).axes[0]
    circles = [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == "o"]
    triangles = [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == "^"]
    assert circles == [[2], [8], [2]]  # Segmenter mini-T, SETR mini-L MLA, ViT-S
    assert triangles == [[8]]  # of the paper's two picks, the one of a model shown


def test_curves_can_be_drawn_of_some_runs(home):
    fig = report.fig4_train_accuracy(DATA, runs=[RUNS[0]], home=home)
    assert [text.get_text() for text in fig.legends[0].texts] == ["Segmenter mini-T"]
    assert "scale mini · init none · preset quick · 3 epochs" in texts(fig)


def test_table1_has_the_paper_beside_ours(home):
    table = report.table1(DATA, home=home)
    assert list(table.model) == [*report.PAPER, "segmenter_vit_s"]
    rows = table.set_index("model")
    assert (rows.paper_aAcc["setr_mla"], rows.paper_mIoU["setr_mla"]) == (0.9442, 0.4259)
    assert rows.run["segmenter_vit_b"] == "" and pd.isna(rows.mIoU["segmenter_vit_b"])
    assert pd.isna(rows.paper_mIoU["segmenter_vit_s"])
    tested = pd.read_csv(paths.results_folder(DATA, home) / "test.csv").set_index("run")
    for model, run in (("segmenter_vit_t", RUNS[0]), ("segmenter_vit_s", RUNS[1])):
        assert rows.mIoU[model] == tested.mIoU[run] and rows.aAcc[model] == tested.aAcc[run]
    written = pd.read_csv(paths.results_folder(DATA, home) / "table1.csv")
    assert list(written) == list(table) and len(written) == 5
    assert written.command.dropna().str.startswith("papermill notebooks/03_train.ipynb").all()


def test_table1_for_readers(home):
    mine = report.table1(DATA, home=home).set_index("model").loc["setr_mla"]
    text = (paths.results_folder(DATA, home) / "table1.md").read_text()
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    line = next(line for line in text.splitlines() if line.startswith("| SETR mini-L MLA"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert head.count("|") == 8  # seven columns
    assert cells[:4] == ["SETR mini-L MLA", "0.0", "none", "94.42 / 42.59"]
    assert cells[4] == f"{100 * mine.aAcc:.1f} / {100 * mine.mAcc:.1f}"
    assert cells[5] == f"{100 * mine.mIoU:.1f} ({100 * mine.mIoU_low:.1f}–{100 * mine.mIoU_high:.1f})"
    low, high = 100 * mine.to_best_low, 100 * mine.to_best_high
    assert cells[6] == f"{100 * mine.to_best:+.1f} ({low:+.1f} to {high:+.1f})" and mine.verdict == "lower"
    assert "| 0.0 | dinov2 | – |" in text and text.count("a tie |") == 0
    assert "| background everywhere |" in text and "epoch 8 of 9" in text
    assert "7 classes that occur, background included" in text
    assert "These are not the paper's experiments: data toy instead of imaterialist; class set" in text
    assert "scale full/mini" in text or "scale mini/full" in text
    assert all(f"`{run}`: `papermill" in text for run in RUNS)
    latex = (paths.results_folder(DATA, home) / "table1.tex").read_text()
    assert r"SETR mini-L MLA & 0.0 & none & 94.42 / 42.59" in latex and "_" not in latex.replace(r"\_", "")
    caption = next(line for line in latex.splitlines() if line.startswith(r"\caption"))
    assert len(caption.split()) <= 40 and "Not the paper's." in caption
    assert latex.count(r"\\") == 2 + len(RUNS)  # head, our models, the floor


def test_table1_tells_differences_photo_by_photo(home, tmp_path):
    results = paths.results_folder(DATA, home)
    rows = report.table1(DATA, home=home).dropna(subset="mIoU").set_index("run")
    best = rows.loc[RUNS[1]]
    assert best.mIoU == rows.mIoU.max() and (best.to_best, best.verdict) == (0, "the best")
    pixels = [areas.of_epoch(areas.path(results, run), "test", rows.epoch[run]) for run in (RUNS[0], RUNS[1])]
    found = compare.difference({0: pixels[0]}, {0: pixels[1]}, classes=fake_runs.NAMES)
    told = rows.loc[RUNS[0], ["to_best", "to_best_low", "to_best_high"]].tolist()
    assert told == [found.difference, found.low, found.high]
    assert found.difference == pytest.approx(rows.mIoU[RUNS[0]] - best.mIoU, abs=1e-5)  # as test.csv rounds


def test_rows_from_outside_are_told_and_a_tie_is_called_one(tmp_path, monkeypatch):
    make_data(tmp_path)
    make_run(tmp_path, qualities=(0.5,))
    make_run(tmp_path, "setr_mla", qualities=(0.5,))
    fake_runs.fake_models(monkeypatch)
    evaluate.validate(DATA, home=tmp_path, progress=False)
    evaluate.pick_epochs(DATA, home=tmp_path)
    evaluate.test(DATA, home=tmp_path, progress=False)
    perfect = tmp_path / "theirs"
    perfect.mkdir()
    for i in range(10, 15):
        labels = fake_runs.label_map(i)
        Image.fromarray(np.where(labels == 255, 0, labels).astype(np.uint8)).save(perfect / f"{i:04}.png")
    evaluate.test_predictions(DATA, perfect, tmp_path)
    table = report.table1(DATA, home=tmp_path)
    assert set(table.run) == {*RUNS[::2], ""} and sorted(table.verdict.dropna()) == ["a tie", "the best"]
    page = (paths.results_folder(DATA, tmp_path) / "table1.md").read_text()
    assert "+0.0 (+0.0 to +0.0), a tie |" in page and "nothing here tells what they learnt from" in page
    outside = next(line for line in page.splitlines() if line.startswith("| your predictions: theirs"))
    assert outside.split(" | ")[1:6] == ["–", "–", "–", "100.0 / 100.0", "100.0 (100.0–100.0)"]
    assert re.fullmatch(r"\+[\d.]+ \(\+[\d.]+ to \+[\d.]+\) \|", outside.split(" | ")[6])
    said = texts(report.fig_errors(DATA, home=tmp_path))
    assert "your predictions: theirs" in said and "at an edge" in said


def test_errors_say_their_largest_part(home):
    rows = pd.read_csv(paths.results_folder(DATA, home) / "errors.csv")[list(ERRORS)]
    assert not rows.wrong_class.any() and not rows.invented.any()  # fake runs only miss
    missed = 100 * (rows.missed / rows.sum(axis=1)).mean()
    said = texts(report.fig_errors(DATA, home=home)).replace("\n", " ")
    assert (
        f"The largest part of the wrong pixels, {missed:.0f} % (mean of the runs), is a class called" in said
    )


def test_only_the_papers_run_passes_for_it(home):
    ours = pd.read_csv(paths.results_folder(DATA, home) / "test.csv").iloc[:1]
    ours = ours.assign(data="imaterialist", class_set="main", scale="full", init="ade20k", preset="paper")
    ours, none = ours.assign(given=""), ours.iloc[:0].assign(note="")
    assert "not the paper's" not in " ".join(_what_it_is_not(ours, none))
    for column, value in (("scale", "mini"), ("init", "none"), ("data", "sample"), ("preset", "quick")):
        assert f"{column} {value} instead of" in _what_it_is_not(ours.assign(**{column: value}), none)[0]


def test_an_unfinished_run_says_so_wherever_it_appears(tmp_path, monkeypatch):
    make_data(tmp_path)
    make_run(tmp_path, "setr_mla", variant="short", qualities=(0.3, 0.6), epochs=10)
    make_run(tmp_path, qualities=(0.3, 0.5))
    (tmp_path / "runs" / DATA / "setr_mla-mini-none-short" / "done.json").unlink()
    fake_runs.fake_models(monkeypatch)
    evaluate.validate(DATA, home=tmp_path, progress=False)
    evaluate.pick_epochs(DATA, home=tmp_path, unfinished=True)
    evaluate.test(DATA, home=tmp_path, progress=False)
    for name in [name for name in report.__all__ if name.startswith("fig") and name not in OF_DATA]:
        said = texts(drawn(name, tmp_path, None)).replace("\n", " ")
        assert "SETR mini-L MLA (2 of 10 epochs, short)" in said, name
    report.table1(DATA, home=tmp_path)
    page = (paths.results_folder(DATA, tmp_path) / "table1.md").read_text()
    assert "| SETR mini-L MLA (short, 2 of 10 epochs) |" in page
    assert "epoch 2 (unfinished: 2 of 10 epochs)" in page and "epoch 2 of 2" in page


def test_a_run_killed_in_its_first_iteration_is_in_the_legend(tmp_path):
    make_data(tmp_path)
    make_run(tmp_path, qualities=(0.3, 0.5))
    killed = make_run(tmp_path, "setr_mla", qualities=(), epochs=8)
    (killed / "done.json").unlink()
    for left in (",".join(run_files.HISTORY) + "\n", "epoch,it"):
        (killed / "history.csv").write_text(left)
        for name in ("fig4_train_accuracy", "fig5_train_loss"):
            assert "SETR mini-L MLA (0 of 8 epochs)" in texts(drawn(name, tmp_path, None))


def test_history_is_thinned_by_means(home):
    rows = report.history(DATA, home=home)
    full = pd.read_csv(home / "runs" / DATA / RUNS[2] / "history.csv")  # 9 epochs of 400: 3600 rows
    mine = rows[rows.run == RUNS[2]]
    assert len(mine) == 450 and mine.iter.iloc[-1] == 3600 and mine.epoch.iloc[-1] == 9
    np.testing.assert_allclose(mine.loss_decode, full.loss_decode.to_numpy().reshape(450, 8).mean(axis=1))
    written = pd.read_csv(paths.results_folder(DATA, home) / "history" / f"{RUNS[2]}.csv")
    assert list(written) == list(full)
    short = run_record.thin(full.iloc[:7])
    pd.testing.assert_frame_equal(short, full.iloc[:7], check_dtype=False)
    assert max(len(run_record.thin(full.iloc[:n])) for n in (499, 500, 501, 999, 1001)) <= 500


def test_run_json_says_how_runs_were_made(home):
    report.run_json(DATA, home)
    what = json.loads((paths.results_folder(DATA, home) / "run.json").read_text())
    assert what["class_set"] == "person" and what["photos"]["train"] == 6 and what["fingerprint"] == "abc"
    assert what["reported"]["torch"].startswith("2.")
    mine = what["runs"][RUNS[1]]
    assert mine["recipe"]["preset"] == "finetune" and mine["command"].startswith("papermill")
    assert mine["versions"]["device"] == "a processor, 2 threads"
    assert mine["recipe"]["seed"] == 0 and what["reported"]["commit"] == run_record.commit()
    assert mine["done"]["finished"] == "2026-11-23T16:00:00Z"


def test_what_is_missing_is_said(tmp_path):
    make_data(tmp_path)
    with pytest.raises(FileNotFoundError, match="No runs in"):
        report.history(DATA, home=tmp_path)
    (make_run(tmp_path) / "history.csv").unlink()
    with pytest.raises(FileNotFoundError, match="No run on toy has a history.csv yet"):
        report.history(DATA, home=tmp_path)


def test_model_titles():
    models = ("segmenter_vit_t", "setr_mla", "setr_vit_s_naive", "unet", "deeplabv3plus_r50")
    titles = ["Segmenter ViT-T", "SETR MLA", "SETR ViT-S naive", "U-Net", "DeepLabV3+ R50"]
    assert list(map(captions.model_title, models)) == titles


def test_labels_tell_runs_apart():
    alike = dict(model="setr_mla", scale="mini", init="none", epochs=5)
    runs = pd.DataFrame([dict(alike, run="setr_mla-mini-none"), dict(alike, run="setr_mla-mini-none-lr2")])
    assert list(captions.labels(runs).values()) == ["SETR mini-L MLA", "SETR mini-L MLA (lr2)"]
    other = dict(alike, run="setr_mla-mini-seed1", init="/w/seed1.safetensors")
    runs = pd.DataFrame([dict(alike, run="setr_mla-mini-none"), other])
    assert list(captions.labels(runs).values()) == ["SETR mini-L MLA (none)", "SETR mini-L MLA (seed1)"]
    assert list(captions.labels(pd.DataFrame([dict(alike, run="setr_mla-mini-none-lr2")])).values()) == [
        "SETR mini-L MLA (lr2)"  # its variant is said even where nothing else has to be told apart
    ]


def test_cost_of_rare_classes_by_hand():
    rows = pd.DataFrame({"class": ["tie", "belt", "dress", "background"], "pixels": [10, 10, 80, 900]})
    costs = figures._cost_of_rare_classes(rows.assign(IoU=[0, 0.1, 0.6, 0.9]))
    assert costs == pytest.approx({"pixels": 2, "lost IoU": 100 * 1.9 / 2.4})  # lost: 1, 0.9, 0.4, 0.1


def test_the_leader_leads_from_its_last_change_on():
    rows = [("a", 1, 0.3), ("a", 2, 0.2), ("a", 3, 0.5), ("b", 1, 0.1), ("b", 2, 0.4)]  # b ends earlier
    rows = pd.DataFrame(rows, columns=["run", "epoch", "mIoU"])
    names = {"a": "A", "b": "B"}
    assert figures._leader(rows, names) == "A is best from epoch 3 on and reaches 50.0 %."
    assert figures._leader(rows[rows.epoch < 3], names) == "B is best from epoch 2 on and reaches 40.0 %."


def test_what_a_run_was_given_is_said(home, tmp_path):
    make_data(tmp_path)
    folder = make_run(tmp_path, qualities=(0.3, 0.5), lr=2e-4, variant="slow")
    card = json.loads((folder / "recipe.json").read_text())
    card["origin"] = {"scale": "given", "seed": "given", "lr": "given", "crop": "given", "batch": "ours"}
    (folder / "recipe.json").write_text(json.dumps(card))
    dataset = json.loads((tmp_path / "data" / DATA / "dataset.json").read_text())
    dataset["options"] = {"max_side": 640, "fractions": [0.7, 0.2, 0.1]}
    (tmp_path / "data" / DATA / "dataset.json").write_text(json.dumps(dataset))
    table = captions.as_trained(pd.read_csv(paths.results_folder(DATA, home) / "test.csv"), DATA, tmp_path)
    assert set(table.given) == {""}  # others' runs
    table = captions.as_trained(table.iloc[:1].assign(run=folder.name), DATA, tmp_path)
    assert list(table.given) == ["lr 0.0002, crop 128 x 128, max_side 640"]
    assert "given lr 0.0002, crop 128 x 128, max_side 640" in captions.circumstances(table)
    assert "; given lr 0.0002" in _what_it_is_not(table, table.iloc[:0].assign(note=""))[0]


def test_the_shipped_models_row(tmp_path, monkeypatch):
    make_data(tmp_path)
    make_run(tmp_path, qualities=(0.3, 0.5))
    checkpoint = tmp_path / "cutout.safetensors"
    checkpoint.write_text("0.7")
    loaded = fake_runs.fake_models(monkeypatch)
    evaluate.validate(DATA, home=tmp_path, progress=False)
    evaluate.pick_epochs(DATA, home=tmp_path)
    evaluate.test(DATA, home=tmp_path, progress=False)
    row = evaluate.test_checkpoint(DATA, checkpoint, tmp_path, progress=False).iloc[0]
    del loaded[:]
    again = evaluate.test_checkpoint(DATA, checkpoint, tmp_path, progress=False).iloc[0]
    pd.testing.assert_series_equal(again, row)
    assert not loaded  # read, not scored again
    report.table1(DATA, home=tmp_path)
    page = (paths.results_folder(DATA, tmp_path) / "table1.md").read_text()
    said = f"| {row.title} | 0.0 | – | – | {100 * row.aAcc:.1f} / {100 * row.mAcc:.1f} |"
    assert said in page and "its card says" in page
    file = paths.results_folder(DATA, tmp_path) / "others.csv"
    pd.read_csv(file).assign(split="other photos").to_csv(file, index=False)
    report.table1(DATA, home=tmp_path)
    assert row.title not in (paths.results_folder(DATA, tmp_path) / "table1.md").read_text()


def test_cooccurrence_by_hand(home, instances):
    fig = report.fig_cooccurrence(DATA, instances, home=home)
    assert fig.axes[0].collections[0].get_array().ravel().tolist() == [100, 50, 100, 100]  # shirt, belt
    assert "Shirt and belt are together 1.0 times as often as by chance" in texts(fig)


def test_class_balance_by_hand(home, instances):
    fig = report.fig_class_balance(DATA, instances, home=home)
    paper, here = (line.get_xdata() for line in fig.axes[0].lines)
    assert paper[0] == pytest.approx(100 * 46374 / 163_060) and np.isnan(here[0])  # shoes
    assert sorted(here[~np.isnan(here)]) == pytest.approx([100 / 3, 200 / 3])  # a belt and two shirts
    said = " ".join(texts(fig).split())
    assert f"has 414 times the instances of the rarest, in {DATA} 2 times." in said


def test_split_by_hand(home, instances):
    splits = {"one": dict(train=["a"], val=[], test=["b"]), "other": dict(train=["a", "b"], val=[], test=[])}
    fig = report.fig_split(DATA, instances, splits, home=home)
    widths = [[bar.get_width() for bar in axis.patches] for axis in fig.axes]
    assert widths == [[0, 50, 0, 0, 100, 50], [100, 100, 0, 0, 0, 0]]  # belt and shirt, split by split
    assert "one from 50 to 100 %, other from 0 to 0 %" in texts(fig)


def test_small_maps_show_values_or_what_is_given():
    small = np.array([[0, 1], [255, 2]], np.uint8)
    by_value = report.small_maps({"a": small, "b": small[:, :1]})
    shown = [[text.get_text() for text in axis.texts] for axis in by_value.axes]
    assert shown == [["0", "1", "255", "2"], ["0", "255"]]
    given = report.small_maps({"a": small > 0}, np.array([[1, 3], [2, 4]]))
    assert [t.get_text() for t in given.axes[0].texts] == ["1", "3", "2", "4"]
    np.testing.assert_array_equal(given.axes[0].images[0].get_array()[0, 0], [255] * 3)  # background


def test_notebooks_show_percent():
    html = report.percent(pd.DataFrame({"run": ["a"], "epoch": [3], "mIoU": [0.1234]})).to_html()
    assert ">12.3<" in html and ">3<" in html


def test_figure_7_ranks_photos_over_the_runs_shown(home):
    results = paths.results_folder(DATA, home)
    epochs = dict(zip(*(read_picked(DATA, list(RUNS), home)[name] for name in ("run", "epoch")), strict=True))
    of_runs = [areas.mean_iou(areas.path(results, run), "test", epoch) for run, epoch in epochs.items()]
    means = pd.concat(of_runs).groupby(level=0).mean()
    chosen = figures._best_median_worst(results, epochs)
    assert means[chosen["best"]] == means.max() and means[chosen["worst"]] == means.min()
    assert means[chosen["median"]] == means.median()
    fig = report.fig7_inference(DATA, runs=[RUNS[0]], home=home, name="fig7_inference-vit_t")
    assert len(fig.axes) == 9  # three photos; photo, ground truth, prediction
    assert (paths.pictures_folder(DATA, home) / "fig7_inference-vit_t.png").is_file()


def test_class_frequency_counts_photos_and_pixels(home, instances):
    left, right = report.fig_class_frequency(DATA, instances, home=home).axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["shirt", "belt"]
    dots = [
        [tuple(dot) for part in axis.collections for dot in part.get_offsets().data] for axis in (left, right)
    ]
    assert sorted(dots[0], key=lambda dot: dot[1]) == [(2, 0), (1, 1)]  # photos of shirt and belt
    assert sorted(dots[1], key=lambda dot: dot[1]) == [(10, 0), (0.5, 1)]  # percent of 200 pixels
