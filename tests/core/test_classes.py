"""Category ids become label values, set by set; label values have colours that stay apart."""

import colorsys

import pytest

from fashionlib.core import classes


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


def test_garments_are_neither_background_nor_the_body():
    assert classes.garment_values(classes.CLASS_SETS["person"]) == list(range(1, 28))
    assert classes.garment_values(["hair", "dress", "background"]) == [1]


def test_supercategories():
    assert [classes.supercategory(i) for i in (0, 19, 45, 46, 47)] == [
        "upperbody", "waist", "decorations", "person", "person",
    ]  # fmt: skip


def test_the_first_colours():
    """Golden: figures of a paper must not change their colours under anyone's feet."""
    assert classes.palette(5) == ((0, 0, 0), (212, 17, 17), (137, 169, 245), (167, 240, 66), (212, 17, 188))
    assert classes.palette(24)[21:] == ((66, 240, 95), (245, 137, 151), (66, 139, 240))


def test_every_label_value_has_a_colour_of_its_own_and_neighbours_differ_in_lightness():
    assert classes.palette(47) == classes.FULL_PALETTE and classes.palette(28) == classes.PALETTE
    assert len({*classes.FULL_PALETTE, (255, 255, 255)}) == 48  # white is "ignore"
    lightness = [colorsys.rgb_to_hls(*(channel / 255 for channel in rgb))[1] for rgb in classes.FULL_PALETTE]
    assert min(abs(a - b) for a, b in zip(lightness, lightness[1:], strict=False)) > 0.1
