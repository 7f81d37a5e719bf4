"""Overlays, pictures and files, on label maps small enough to check by hand."""

import numpy as np
import pytest

from fashionlib.core.classes import CLASSES, FULL_PALETTE, IGNORE
from fashionlib.report import style

PHOTO = np.full((2, 3, 3), 100, np.uint8)
LABEL = np.array([[0, 1, IGNORE], [0, 2, 2]], np.uint8)


def test_overlay_leaves_background_alone():
    blended = style.overlay(PHOTO, LABEL, CLASSES, alpha=0.5)
    assert blended.dtype == np.uint8 and blended.shape == PHOTO.shape
    np.testing.assert_array_equal(blended[:, 0], PHOTO[:, 0])
    np.testing.assert_array_equal(blended[0, 1], np.round((100 + np.array(FULL_PALETTE[1])) / 2))
    np.testing.assert_array_equal(blended[0, 2], [114] * 3)  # ignored: halfway to grey


def test_overlay_shows_the_legends_hue_on_coloured_cloth():
    red = np.zeros((1, 1, 3), np.uint8) + np.array([240, 30, 30], np.uint8)
    grey = np.full((1, 1, 3), 100, np.uint8)  # as bright as the red
    label = np.ones((1, 1), np.uint8)
    np.testing.assert_array_equal(style.overlay(red, label, CLASSES), style.overlay(grey, label, CLASSES))


def test_overlay_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"photo is \(2, 3\) but its label map \(3, 2\)"):
        style.overlay(PHOTO, LABEL.T, CLASSES)
    with pytest.raises(ValueError, match="has the value 2, but the classes are 0 … 1"):
        style.overlay(PHOTO, LABEL, CLASSES[:2])


def test_checkerboard_shows_through_where_alpha_is_zero():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2, :, :3], rgba[:2, :, 3] = 50, 255
    shown = style.checkerboard(rgba, square=2)
    assert (shown[:2] == 50).all()
    assert (shown[2:, :2] == 255).all() and (shown[2:, 2:] == 204).all()


def test_legend_lists_the_classes_that_occur():
    patches = style.legend([LABEL, np.array([[3, IGNORE]], np.uint8)], CLASSES)
    assert [patch.get_label() for patch in patches] == ["shirt", "top", "sweater"]


def test_a_grid_fits_its_pictures():
    photo, titles = np.zeros((60, 30, 3), np.uint8), ["photo", "ground truth", "prediction"]
    fig = style.picture_grid([[photo] * 3], titles)
    assert [axis.get_title() for axis in fig.axes] == titles
    width, height = fig.get_size_inches()
    assert width == style.COLUMN
    fig.draw_without_rendering()
    box = fig.axes[0].get_position()
    assert box.height * height == pytest.approx(2 * box.width * width)  # twice as high as wide: not squeezed
    assert box.width > 0.9 / 3  # and no room left beside it
    wide = style.picture_grid([[photo] * 5, [photo[:20]] * 5], row_labels=["a", "b"], width=style.PAGE)
    assert len(wide.axes) == 10


def test_row_labels_fit_beside_their_rows():
    flat = np.zeros((30, 40, 3), np.uint8)
    labels = ["SETR MLA (2 of 10 epochs, b4)", "shipped model"]
    fig = style.picture_grid([[flat] * 6] * 2, row_labels=labels, width=7)
    fig.canvas.draw()
    upper, lower = (fig.axes[i].yaxis.label.get_window_extent() for i in (0, 6))
    assert lower.y1 < upper.y0 and upper.x0 >= 0
    assert upper.x1 < fig.axes[0].get_window_extent().x0


def test_same_figure_gives_the_same_bytes(tmp_path):
    def draw(folder):
        fig, axes = style.panels(style.COLUMN, 2)
        axes[0, 0].plot([1, 2, 3], **style.line_styles(["setr_mla"])[0])
        style.save(fig, "fig", tmp_path / folder, "toy")
        return [(tmp_path / folder / f"fig{suffix}").read_bytes() for suffix in (".png", ".pdf")]

    first, second = draw("a"), draw("b")
    assert first == second
    assert first[0].startswith(b"\x89PNG") and first[1].startswith(b"%PDF")
    assert b"CreationDate" not in first[1]


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "fig.png").write_bytes(b"before")
    fig, _ = style.panels(2, 2)
    monkeypatch.setattr(fig, "savefig", lambda path, **_: path.write_bytes(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        style.save(fig, "fig", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fig.png"]
    assert (tmp_path / "fig.png").read_bytes() == b"before"


def test_lines_are_told_apart():
    looks = style.line_styles(["segmenter_vit_t", "setr_mla", "unet", "deeplabv3plus_r50", "setr_mla"])
    assert len({tuple(look.values()) for look in looks}) == 5
    assert len({look["color"] for look in looks}) == 4  # two runs of one model differ by their dashes


def test_a_model_has_its_colour_whoever_is_beside_it():
    looks = style.line_styles(["setr_mla", "segmenter_vit_t"])
    assert [look["color"] for look in looks] == [
        style.OF_MODELS["setr_mla"],
        style.OF_MODELS["segmenter_vit_t"],
    ]
    assert all(look["color"] in style.COLOURS for look in style.line_styles([*style.OF_MODELS, "unet"]))


@pytest.mark.parametrize("legend", [True, False])
def test_message_and_small_print_fit_their_width(tmp_path, legend):
    fig, axes = style.panels(style.COLUMN, 2)
    axes[0, 0].plot([1], label="a")
    if legend:
        fig.legend(loc="outside upper center")
    style.save(
        fig, "fig", tmp_path, "scale mini · init none · 15 epochs · " * 5, "One is better than another. " * 4
    )
    fig.draw_without_rendering()
    title = fig.legends[0].get_title() if legend else fig._suptitle
    for text in (title, fig._supxlabel):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= fig.bbox.width
    assert title.get_window_extent().y0 > axes[0, 0].get_window_extent().y1


def test_mistakes_show_what_kind_they_are():
    truth = np.array([[0, 0, 1, 1, 1, IGNORE]], np.uint8)
    predicted = np.array([[0, 1, 0, 1, 2, 1]], np.uint8)
    shown = style.mistakes(np.full((1, 6, 3), 100, np.uint8), truth, predicted)[0]
    background, invented, missed, right, renamed, ignored = map(tuple, shown)
    assert background == ignored and len(set(background)) == 1  # grey
    assert invented == missed and len({background, invented, right, renamed}) == 4


def test_names_stand_on_large_masks():
    label_map = np.zeros((100, 100), np.uint8)
    label_map[:40, 50:], label_map[90:, :50], label_map[60:62, :2] = 1, 2, 3  # 20, 5 and 0.04 %
    (x, y, name), (_, low, other) = style.names_on(label_map, CLASSES)
    assert (name, other) == ("shirt", "top") and 0.5 < x < 1 and 0.6 < y < 1 and low < 0.1
    label_map[40:50, 50:] = 2  # close below the shirt's name, and now the top's widest part: either is shown
    assert "shirt" in [name for *_, name in style.names_on(label_map, CLASSES)]
