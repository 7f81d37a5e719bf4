"""Merged confusion matrices: as scored on merged label maps, and the published numbers beside them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fashionlib.core.classes import CLASS_SETS, CLASSES, GROUPS
from fashionlib.evaluate import metrics, taxonomies
from fashionlib.report.table1 import PAPER

label_maps = hnp.arrays(np.uint8, (2, 6, 7), elements=st.integers(0, 27))


@given(label_maps, st.sampled_from(sorted(taxonomies.taxonomies())))
def test_merging_then_counting_equals_counting_merged_label_maps(maps, taxonomy):
    names = taxonomies.taxonomies()[taxonomy]
    kinds = list(dict.fromkeys(names))
    lookup = np.array([kinds.index(name) for name in names], np.uint8)
    expected = metrics.confusion_matrix(*lookup[maps], len(kinds))
    merged = taxonomies.merge(metrics.confusion_matrix(*maps, 28), names)
    np.testing.assert_array_equal(merged, expected)
    assert merged.dtype == np.int64


def test_the_taxonomies_and_their_sizes():
    known = taxonomies.taxonomies()
    assert {name: len(set(names)) for name, names in known.items()} == {
        "classes": 28, "supercategories": 10, "groups": 6, "body": 4, "apparel": 2,
    }  # fmt: skip
    assert all(names[0] == "background" for names in known.values())
    assert len(GROUPS) - 1 == 12  # the ontology's, without our own: person
    of = {name: dict(zip(CLASSES, names, strict=True)) for name, names in known.items()}
    assert of["groups"]["shoe"] == "feet" and of["groups"]["scarf"] == "accessories"
    assert of["body"]["coat"] == "whole body" and of["body"]["shoe"] == "background"
    assert of["apparel"]["scarf"] == "apparel"


def test_scores_by_hand():
    cm = np.zeros((28, 28), int)
    shorts, skirt = CLASSES.index("shorts"), CLASSES.index("skirt")
    cm[0, 0], cm[skirt, shorts], cm[skirt, 0] = 6, 3, 1
    found = taxonomies.table(cm).set_index("taxonomy")
    assert found.n_classes.tolist() == [3, 2, 2, 2, 2]
    np.testing.assert_allclose(found.aAcc, [0.6, 0.9, 0.9, 0.9, 0.9])
    np.testing.assert_allclose(found.mAcc, [0.5, *[(1 + 3 / 4) / 2] * 4])
    np.testing.assert_allclose(found.mIoU, [6 / 7 / 3, *[(6 / 7 + 3 / 4) / 2] * 4])
    np.testing.assert_allclose(found.mIoU_no_background, [0, *[3 / 4] * 4])
    np.testing.assert_allclose(found.F1, [12 / 13 / 3, *[(12 / 13 + 6 / 7) / 2] * 4])


@pytest.mark.parametrize("class_set", ["main", "person"])
def test_merged_to_apparel_it_is_the_apparel_iou(class_set):
    names = CLASS_SETS[class_set]
    cm = np.random.default_rng(0).integers(0, 99, (len(names), len(names)))
    found = taxonomies.table(cm, names).set_index("taxonomy")
    np.testing.assert_allclose(found.mIoU_no_background["apparel"], metrics.apparel_iou(cm, names))
    assert found.n_classes.tolist() == [len(names), 10, 6, 4, 2]


def test_published_scores_have_source_and_doubt_and_are_those_of_table_1():
    rows = taxonomies.published()
    assert set(rows.taxonomy) <= set(taxonomies.taxonomies()) and rows.value.between(0, 1).all()
    assert rows.notna().all(axis=None) and set(rows.metric) <= {"aAcc", "mIoU", "F1"}
    paper = rows[rows.taxonomy == "classes"].pivot(index="model", columns="metric", values="value")
    expected = pd.DataFrame(PAPER.values(), columns=["aAcc", "mIoU"])
    assert sorted(paper.mIoU) == sorted(expected.mIoU) and sorted(paper.aAcc) == sorted(expected.aAcc)
