"""Validation, the pick and the test, on fake checkpoints whose scores are known."""

import shutil
import sys

import fake_runs
import numpy as np
import pandas as pd
import pytest
import torch
from fake_runs import DATA, NAMES, make_data, make_run
from PIL import Image

from fashionlib import evaluate, models
from fashionlib.evaluate import areas, metrics, runs
from fashionlib.evaluate.result_tables import progress_bar
from fashionlib.evaluate.score import Scorer
from fashionlib.evaluate.split import Photos, Split

RUN = "segmenter_vit_t-mini-none"


@pytest.fixture
def home(tmp_path):
    make_data(tmp_path)
    make_run(tmp_path)
    return tmp_path


@pytest.fixture
def loaded(monkeypatch):
    return fake_runs.fake_models(monkeypatch)


def validate(home, **options):
    return evaluate.validate(DATA, home=home, progress=False, **options)


def run_all(home):
    validate(home)
    evaluate.pick_epochs(DATA, home=home)
    return evaluate.test(DATA, home=home, progress=False)


def matrix(quality: float, photos) -> np.ndarray:
    """The confusion matrix of a fake checkpoint, counted without `fashionlib.evaluate`."""
    total = 0
    for i in photos:
        target = fake_runs.label_map(i)
        pred = np.where(target == 255, 0, target)
        pred[:, round(quality * fake_runs.WIDTH) :] = 0
        total = total + metrics.confusion_matrix(pred, target, len(NAMES))
    return total


def test_training_photos_are_scored_as_validation_photos_are(home, loaded):
    found = evaluate.score_training_photos(DATA, RUN, count=4, points=2, home=home, progress=False)
    assert found.epoch.tolist() == [1, 3] and found.photos.tolist() == [4, 4]
    for quality, row in zip((0.3, 0.5), found.itertuples(), strict=True):
        cm = matrix(quality, range(4))
        assert (row.aAcc, row.mIoU) == (metrics.aacc(cm), metrics.miou(cm))
    assert not (home / "runs" / DATA / "results").exists()


def test_training_photos_are_those_that_the_run_saw(home, loaded):
    make_run(home, variant="2photos", photos=2)
    seen = np.sort(np.random.default_rng(0).permutation(fake_runs.SPLITS["train"])[:2])
    found = evaluate.score_training_photos(DATA, f"{RUN}-2photos", home=home, progress=False)
    assert found.photos.tolist() == [2, 2, 2] and found.aAcc[0] == metrics.aacc(matrix(0.3, seen))
    for file in (home / "runs" / DATA / RUN).glob("*.safetensors"):
        file.unlink()
    with pytest.raises(ValueError, match=f"{RUN} has no weights"):
        evaluate.score_training_photos(DATA, RUN, home=home, progress=False)


def test_every_checkpoint_is_scored(home, loaded):
    make_run(home, "setr_mla", qualities=(0.2, 0.4))
    table = validate(home)
    assert list(zip(table.run, table.epoch, strict=True)) == [(RUN, 1), (RUN, 2), (RUN, 3)] + [
        ("setr_mla-mini-none", e) for e in (1, 2)
    ]
    cm = matrix(0.6, range(6, 10))
    row = table.iloc[1]
    assert row.mIoU == pytest.approx(metrics.miou(cm), abs=1e-5)
    assert row.aAcc == pytest.approx(metrics.aacc(cm), abs=1e-5)
    assert row.mAcc == pytest.approx(metrics.macc(cm), abs=1e-5)
    assert row.mIoU_no_background == pytest.approx(metrics.miou(cm, background=False), abs=1e-5)
    assert row.person_IoU == pytest.approx(metrics.person_iou(cm, NAMES), abs=1e-5)
    assert (row.n_classes, row.photos) == (metrics.n_classes(cm), 4)
    stated = dict(data=DATA, class_set="person", model="segmenter_vit_t", scale="mini", init="none", seed=0)
    stated |= dict(preset="quick", epochs=3, train_photos=6, init_source="random values; drawn for a test")
    assert {key: row[key] for key in stated} == stated


def test_nothing_is_scored_twice(home, loaded):
    first = validate(home)
    assert len(loaded) == 3
    pd.testing.assert_frame_equal(validate(home), first)
    assert len(loaded) == 3
    make_run(home, "setr_pup", qualities=(0.1,))
    validate(home)
    assert loaded[3:] == ["setr_pup-mini-none/epoch_1"]


def test_rows_survive_a_kill(home, loaded, monkeypatch):
    honest = Scorer.score

    def stop_at_the_second(self, checkpoint, bar):
        if checkpoint.stem == "epoch_2":
            raise KeyboardInterrupt
        return honest(self, checkpoint, bar)

    monkeypatch.setattr(Scorer, "score", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        validate(home)
    monkeypatch.undo()
    again = fake_runs.fake_models(monkeypatch)
    assert len(validate(home)) == 3
    assert again == [f"{RUN}/epoch_2", f"{RUN}/epoch_3"]


def test_a_run_trained_again_is_scored_again(home, loaded):
    validate(home)
    fake_runs.set_quality(home / "runs" / DATA / RUN, 1, 0.9)
    (home / "runs" / DATA / RUN / "epoch_3.safetensors").unlink()
    assert list(validate(home).epoch) == [1, 2]  # the old run's third epoch is no epoch of this one
    assert loaded[3:] == [f"{RUN}/epoch_1", f"{RUN}/epoch_2"]


def test_another_preparation_is_refused(home, loaded):
    make_data(home, fingerprint="other")
    with pytest.raises(
        ValueError, match=r"segmenter_vit_t-mini-none was trained on another .*\(abc, now other\)"
    ):
        validate(home)


def test_other_photos_make_old_rows_stale(home, loaded):
    run_all(home)
    before = pd.read_csv(home / "runs" / DATA / "results" / "test.csv")
    (home / "data" / DATA / "splits" / "val.txt").write_text("0006\n0007\n")
    (home / "data" / DATA / "splits" / "test.txt").write_text("0010\n")
    assert (validate(home).photos == 2).all()
    after = run_all(home)
    assert before.photos.tolist() == [5] and after.photos.tolist() == [1]


def test_best_epoch_is_picked_and_the_earlier_on_ties(home, loaded):
    make_run(home, "setr_mla", qualities=(0.2, 0.7, 0.7, 0.1))
    validate(home)
    picked = evaluate.pick_epochs(DATA, home=home).set_index("run")
    assert picked.epoch.to_dict() == {RUN: 2, "setr_mla-mini-none": 2}
    assert picked.lead["setr_mla-mini-none"] == 0
    assert picked.rule[RUN] == evaluate.RULE and picked.validated_epochs[RUN] == 3


def test_an_unfinished_run_is_left_out_of_the_pick_unless_asked_for(home, loaded):
    short = make_run(home, "setr_mla", qualities=(0.2, 0.7), epochs=10)
    assert evaluate.left_out(DATA, home=home) == ""
    validate(home)
    evaluate.pick_epochs(DATA, home=home)
    (short / "done.json").unlink()
    said = evaluate.left_out(DATA, home=home)
    assert "setr_mla-mini-none (2 of 10 epochs, go on with `papermill" in said and RUN not in said
    assert "unfinished=True" in said
    assert list(evaluate.pick_epochs(DATA, home=home, keep="picked").run) == [RUN]  # an earlier pick goes
    assert len(list(short.glob("*.safetensors"))) == 2  # and no weights that it may still need
    with pytest.raises(ValueError, match="Unfinished and left out of the pick: setr_mla-mini-none"):
        evaluate.pick_epochs(DATA, runs=[short.name], home=home)
    picked = evaluate.pick_epochs(DATA, home=home, keep="picked", unfinished=True)
    assert list(picked.run) == [RUN, short.name] and len(list(short.glob("*.safetensors"))) == 2
    shown = runs.read_picked(DATA, home=home).set_index("run")
    assert shown.trained.to_dict() == {short.name: "2 of 10 epochs", RUN: "3 epochs"}
    assert list(shown.index)[0] == short.name  # the highest mIoU first


def test_keep_picked_removes_the_other_weights(home, loaded):
    run_all(home)
    evaluate.pick_epochs(DATA, home=home, keep="picked")
    assert [file.stem for file in (home / "runs" / DATA / RUN).glob("*.safetensors")] == ["epoch_2"]
    assert len(validate(home)) == 3  # their scores stay
    assert len(loaded) == 5  # three to validate, the picked and the last to test


def test_test_scores_the_picked_epoch_only(home, loaded):
    table = run_all(home)
    assert loaded[3:] == [f"{RUN}/epoch_3", f"{RUN}/epoch_2"]  # of the last the areas alone are kept
    cm, row = matrix(0.6, range(10, 15)), table.iloc[0]
    floor = metrics.background_everywhere(cm)
    assert row.mIoU == pytest.approx(metrics.miou(cm), abs=1e-5)
    assert row.eq1_accuracy == pytest.approx(1 - 2 * (1 - row.aAcc) / len(NAMES), abs=1e-5)
    assert row.background_aAcc == pytest.approx(metrics.aacc(floor), abs=1e-5)
    assert row.background_mIoU == pytest.approx(metrics.miou(floor), abs=1e-5)
    assert row.mIoU_low <= row.mIoU <= row.mIoU_high
    results = home / "runs" / DATA / "results"
    written = pd.read_csv(results / "confusion" / f"{RUN}.csv", index_col="truth")
    assert list(written) == list(written.index) == NAMES
    np.testing.assert_array_equal(written, cm)
    per_class = pd.read_csv(results / "per_class.csv").set_index("class")
    np.testing.assert_allclose(per_class.IoU, metrics.iou(cm), atol=1e-5)
    assert per_class.pixels.tolist() == cm.sum(axis=1).tolist()
    assert per_class.photos["skin"] == 5 and per_class.photos[NAMES[1]] == 1 and per_class.photos["tie"] == 0
    by_photo = areas.mean_iou(results / "areas" / f"{RUN}.csv.gz", "test", 2)
    assert list(by_photo.index) == ["0010", "0011", "0012", "0013", "0014"]
    assert by_photo["0010"] == pytest.approx(metrics.miou(matrix(0.6, [10])), abs=1e-5)


def test_areas_of_every_validated_epoch_and_of_the_picked_and_last_tested(home, loaded):
    run_all(home)
    file = home / "runs" / DATA / "results" / "areas" / f"{RUN}.csv.gz"
    rows = areas.read(file)
    scored = [("test", 2), ("test", 3), ("val", 1), ("val", 2), ("val", 3)]
    assert sorted(set(zip(rows.split, rows.epoch, strict=True))) == scored
    for (split, epoch), group in rows.groupby(["split", "epoch"]):
        photos = range(6, 10) if split == "val" else range(10, 15)
        counts = metrics.class_counts(matrix((0.3, 0.6, 0.5)[epoch - 1], photos))
        sums = group.groupby("class")[["intersection", "truth", "prediction"]].sum()
        present = [name for name, total in zip(NAMES, counts.sum(axis=0), strict=True) if total]
        assert sorted(sums.index) == sorted(present)
        np.testing.assert_array_equal(sums.loc[present], counts[:, counts.sum(axis=0) > 0].T)
    before = file.read_bytes()
    for name in ("validation.csv", "test.csv"):
        (home / "runs" / DATA / "results" / name).unlink()
    run_all(home)
    assert file.read_bytes() == before  # the same bytes when made again
    fake_runs.set_quality(home / "runs" / DATA / RUN, 1, 0.35)  # trained again
    validate(home)
    assert set(areas.read(file).split) == {"val"}


def test_scores_of_an_older_version_without_areas_are_made_again(home, loaded):
    first, results = run_all(home), home / "runs" / DATA / "results"
    for name in ("validation.csv", "test.csv"):
        table = pd.read_csv(results / name)
        table.drop(columns=["mAcc", "parameters"]).to_csv(results / name, index=False)
    (results / "areas" / f"{RUN}.csv.gz").unlink()
    times = ["seconds_per_photo"]
    pd.testing.assert_frame_equal(run_all(home).drop(columns=times), first.drop(columns=times))
    assert pd.read_csv(results / "validation.csv").mAcc.notna().all()


def test_areas_of_other_photos_go(home, loaded):
    run_all(home)
    file, listed = (
        home / "runs" / DATA / "results" / "areas" / f"{RUN}.csv.gz",
        home / "data" / DATA / "splits",
    )
    (listed / "test.txt").write_text("0010\n0011\n")
    evaluate.test(DATA, home=home, progress=False)
    rows = areas.read(file)
    assert set(rows[rows.split == "test"].photo) == {"0010", "0011"} and (rows.split == "val").any()


def test_test_is_not_done_twice(home, loaded):
    first = run_all(home)
    pd.testing.assert_frame_equal(run_all(home), first)
    assert len(loaded) == 5


def test_another_split_goes_to_its_own_folder(home, loaded):
    run_all(home)
    (home / "data" / DATA / "splits" / "official_val.txt").write_text("0000\n0001\n")
    table = evaluate.test(DATA, home=home, progress=False, split="official_val")
    assert table.photos.tolist() == [2] and table.scored_on.tolist() == ["official_val"]
    assert (home / "runs" / DATA / "results" / "official_val" / "per_class.csv").is_file()


def test_what_is_missing_is_said(home, loaded):
    with pytest.raises(FileNotFoundError, match="validate first"):
        evaluate.pick_epochs(DATA, home=home)
    with pytest.raises(FileNotFoundError, match="No run on toy has a picked epoch"):
        evaluate.test(DATA, home=home, progress=False)
    with pytest.raises(FileNotFoundError, match="No runs in .*03_train"):
        evaluate.validate("toy2", home=_only_data(home), progress=False)
    with pytest.raises(ValueError, match="Unknown run on toy 'setr'"):
        validate(home, runs=["setr"])
    run_all(home)
    fake_runs.set_quality(home / "runs" / DATA / RUN, 2, 0.61)
    with pytest.raises(ValueError, match="epoch_2.safetensors is not the file that was validated"):
        evaluate.test(DATA, home=home, progress=False)
    (home / "runs" / DATA / RUN / "epoch_2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights of its picked epoch 2"):
        evaluate.test(DATA, home=home, progress=False)


def _only_data(home):
    (home / "data" / "toy2").symlink_to(home / "data" / DATA)
    return home


def test_photos_come_in_batches_and_stay_within_memory(home, monkeypatch):
    split = Split.read(DATA, "test", home)
    one = sum(array.nbytes for array in split.load("0010"))
    monkeypatch.setattr("fashionlib.evaluate.split._KEPT_BYTES", 2 * one)
    photos = Photos(split)
    for _ in range(2):
        seen = []
        for places, images, labels in photos.batches(lambda size: "all alike", 2):
            assert len(places) == len(images) == len(labels) <= 2
            for place, image, label in zip(places, images, labels, strict=True):
                assert image.shape == (fake_runs.HEIGHT, fake_runs.WIDTH, 3) and image.dtype == np.uint8
                np.testing.assert_array_equal(label, fake_runs.label_map(10 + place))
            seen += places
        assert sorted(seen) == list(range(5))
    assert len(photos._kept) == 2


def test_a_batch_is_of_one_group(home):
    photos = Photos(Split.read(DATA, "test", home))
    assert photos.sizes == [(fake_runs.HEIGHT, fake_runs.WIDTH)] * 5
    photos.sizes = [(1, 2), (3, 4), (1, 2), (3, 4), (1, 2)]
    batches = [places for places, _, _ in photos.batches(lambda size: size[0], 2)]
    assert batches == [[0, 2], [4], [1, 3]]


@pytest.fixture(scope="module")
def trained(prepared_home, tmp_path_factory):
    """Two epochs of one mini run and one of another kind, with random weights, on the data set ``tiny``."""
    folder, paths = tmp_path_factory.mktemp("trained"), []
    for name, epoch in (("segmenter_vit_t", 1), ("segmenter_vit_t", 2), ("deeplabv3plus_r50", 1)):
        torch.manual_seed(epoch)
        model = models.build(name, scale="mini")
        paths.append(models.save(model, folder / f"{name}_{epoch}.safetensors", model.metadata))
    return paths


def test_a_network_is_built_once_for_the_epochs_of_a_run(trained):
    first, second, other = trained
    fresh = models.load(second).state_dict()
    model = models.load(first)
    assert models.load(second, model) is model and not model.training
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in model.state_dict().items())
    assert models.load(other, model) is not model


@pytest.fixture
def two_sizes(prepared_home, tmp_path):
    """The validation photos of ``tiny``, every other one cut off below."""
    shutil.copytree(prepared_home / "data", tmp_path / "data")
    split = Split.read("tiny", "val", tmp_path)
    for photo in split.ids[::2]:
        for path in (split.folder / "images" / f"{photo}.jpg", split.folder / "labels" / f"{photo}.png"):
            Image.open(path).crop((0, 0, 72, 80)).save(path)
    return split


@pytest.mark.parametrize("which", [0, 2])
def test_batches_score_as_photos_one_by_one_do(trained, two_sizes, monkeypatch, which):
    """In fp32. The Segmenter looks through windows, DeepLab at the whole photo."""
    monkeypatch.setattr(sys.modules["fashionlib.models.inference"], "resolve_precision", lambda *_: "fp32")
    model = models.load(trained[which])
    pairs = [two_sizes.load(photo) for photo in two_sizes.ids]
    expected = [metrics.confusion_matrix(models.predict(model, image), label, 28) for image, label in pairs]
    counts = Scorer(two_sizes).score(trained[which], progress_bar(len(pairs), "", show=False))
    np.testing.assert_array_equal(counts.cm, sum(expected))
    np.testing.assert_array_equal(counts.per_photo, [metrics.class_counts(cm) for cm in expected])
    assert len({image.shape for image, _ in pairs}) == 2


def test_a_models_classes_may_be_called_what_the_data_call_them(trained, two_sizes):
    bar = progress_bar(len(two_sizes.ids), "", show=False)
    as_they_are, scorer = Scorer(two_sizes).score(trained[2], bar).cm, Scorer(two_sizes)
    value = 1 + as_they_are[:, 1:].sum(axis=0).argmax()  # what it sees most, its weights being random
    other = value % 27 + 1
    called = {two_sizes.classes[value]: two_sizes.classes[other], two_sizes.classes[other]: "none of these"}
    renamed = scorer.score(trained[2], bar, called).cm
    expected = as_they_are.copy()
    expected[:, 0] += expected[:, other]
    expected[:, other] = expected[:, value]
    expected[:, value] = 0
    assert as_they_are[:, value].any()
    assert np.array_equal(renamed, expected)
