"""Category ids become label values, set by set."""

import pytest

from fashionlib import classes


def test_label_values_of_each_class_set():
    main = {i: i + 1 for i in range(27)}
    assert classes.label_values() == classes.label_values("main") == main
    assert classes.label_values("person") == main | {46: 28, 47: 29}  # hair, skin
    assert classes.label_values("all") == {i: i + 1 for i in range(46)}
    for class_set, names in classes.CLASS_SETS.items():
        assert sorted(classes.label_values(class_set).values()) == list(range(1, len(names)))


def test_an_unknown_class_set_is_named_with_what_was_meant():
    with pytest.raises(ValueError, match="^Unknown class set 'persom'. Did you mean 'person'. Known: 'main'"):
        classes.label_values("persom")
    with pytest.raises(ValueError, match="^Unknown name 'qqq'. Known: 'a', 'b'[.]$"):
        classes.check_name("qqq", ["a", "b"])
    assert classes.check_name("b", ["a", "b"]) == "b"


def test_supercategories():
    assert [classes.supercategory(i) for i in (0, 19, 45, 46, 47)] == [
        "upperbody", "waist", "decorations", "person", "person",
    ]  # fmt: skip
