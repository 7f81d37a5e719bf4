"""Drafts of masks: a model's label maps as a folder that `convert folder` reads."""

import cutout_stub
import numpy as np
import pytest
from cutout_stub import PERSON, scene
from PIL import Image

from fashionlib.cli import main
from fashionlib.core import classes
from fashionlib.cutout import drafts, segment
from fashionlib.data import raw, rle
from fashionlib.data.sources import folder

model = cutout_stub.model  # a fixture
GROUPS = {"garment": "wholebody", "rest": ["bag", "person"]}
TRUTH = np.zeros((80, 60), np.uint8)  # of the scene: a dress, a bag on its side, hair on top
TRUTH[30:60, 20:40], TRUTH[40:50, 40:50], TRUTH[20:30, 25:35] = 1, 2, 2


def photo(path):
    Image.fromarray(scene()).save(path)  # PNG: colours as they are
    return path


def converted(source, out):
    folder.convert(source, out, own=True, workers=1, progress=False)
    rows = raw.read(out)
    return rle.label_map([*rows.EncodedPixels], [*rows.ClassId], *TRUTH.shape)


def test_a_draft_in_classes_of_ones_own_comes_back_as_drawn_and_as_corrected(tmp_path, model):
    made = drafts.draft(photo(tmp_path / "a.png"), tmp_path / "draft", model, GROUPS, progress=False)
    table = (made / "classes.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in table[1:]] == ["background", "garment", "rest"]
    assert np.array_equal(converted(made, tmp_path / "raw"), TRUTH)
    assert raw.own_classes(tmp_path / "raw") == ["garment", "rest"]

    mask = np.array(Image.open(made / "masks/a.png"))
    mask[:35] = 0
    Image.fromarray(mask).save(made / "masks/a.png")
    assert np.array_equal(
        converted(made, tmp_path / "again"), np.where(np.arange(80)[:, None] < 35, 0, TRUTH)
    )


def test_without_groups_the_names_are_fashionpedias(tmp_path, model):
    drafts.draft(photo(tmp_path / "a.png"), tmp_path / "draft", model, progress=False)
    folder.convert(tmp_path / "draft", tmp_path / "raw", workers=1, progress=False)
    found = {classes.NAMES[i] for i in raw.read(tmp_path / "raw").ClassId}
    assert found == {"dress", "bag, wallet", "hair"}


@pytest.mark.parametrize(
    "groups, sentence",
    [
        ({"a": "wholebody", "b": "dress"}, "The class 'dress' is in 'a' and in 'b': choose one"),
        ({"a": "dres"}, "Unknown class or group 'dres'. Did you mean 'dress'"),
    ],
)
def test_groups_that_cannot_be(groups, sentence):
    with pytest.raises(ValueError, match=sentence):
        segment.regrouped(PERSON, groups)


def test_two_photos_of_one_name_are_refused_and_nothing_is_written(tmp_path, model):
    (tmp_path / "b").mkdir()
    two = [photo(tmp_path / "a.png"), photo(tmp_path / "b/a.png")]
    labelled = ((path, TRUTH) for path in two)
    with pytest.raises(raw.RawError, match="b/a.png has the name of another photo"):
        folder.write(tmp_path / "out", labelled, ["background", "x", "y"])
    assert not any((tmp_path / "out").rglob("*"))


def test_the_command_says_what_comes_next(tmp_path, model, monkeypatch):
    from click.testing import CliRunner

    monkeypatch.setattr(segment, "load_model", lambda path: model)
    words = [
        "draft",
        photo(tmp_path / "a.png"),
        "--out",
        tmp_path / "draft",
        "--group",
        "garment",
        "wholebody",
    ]
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"convert folder {tmp_path / 'draft'} raw/NAME --own-classes\n")
    assert np.array_equal(converted(tmp_path / "draft", tmp_path / "raw") > 0, TRUTH == 1)


def test_a_models_classes_in_those_of_the_photos():
    names = ["background", "shoe", "top"]
    by_group = drafts.values_in(names, PERSON, {"top": "upperbody", "shoe": "shoe"})
    assert by_group[PERSON.index("jacket")] == 2 and by_group[PERSON.index("shoe")] == 1
    assert sorted(np.bincount(by_group)) == [1, 6, len(PERSON) - 7]
    by_name = drafts.values_in(names, PERSON, None)
    assert by_name.nonzero()[0].tolist() == [PERSON.index("shoe")]
    with pytest.raises(ValueError, match="Unknown class of the photos 'tops'. Did you mean 'top'"):
        drafts.values_in(names, PERSON, {"tops": "upperbody"})
