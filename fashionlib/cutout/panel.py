"""Pictures for notebook 06: a cut-out step by step, single garments, edges; and its interactive panel.

The panel's picture is an ordinary output that the controls replace, not a widget. So the first choice is
still shown where nobody can click (papermill, a page on the web).
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND, garment_values
from fashionlib.cutout import compose, edges, one_photo, photos, segment
from fashionlib.cutout.tasks import outputs
from fashionlib.data import prepared
from fashionlib.report.style import checkerboard, colour_map

GROUNDS = ("none", "white", "blur", "#c8d8e8")
SIDE = 480  # pixels: the panel shows, and cuts out, a photo no larger
REMOVED, FILLED = (213, 94, 0), (86, 180, 233)  # specks and holes in the picture of the tidied mask


def chosen_photos(data: str, given: str | None, count: int) -> list[Path]:
    """At most `count` photos of `given` (a file, folder or pattern); None: those in ``raw/<data>/test``.

    Where that folder is empty they are the photos of the test split. Raises ValueError or FileNotFoundError
    for a `count` below 1, and for a `given` without photos.
    """
    if count < 1:
        raise ValueError(f"count={count}: at least 1 photo.")
    if given:
        path = str(Path(given).absolute())  # so that an error names the folder of relative paths
        return [photo for photo, _ in outputs(path, paths.runs_folder(data) / "cutouts", "png")][:count]
    folder = paths.data_folder(data)
    outside = sorted(paths.raw_folder(data).glob("test/*.jpg"))
    return (outside or [folder / f"images/{name}.jpg" for name in prepared.ids(folder, "test")])[:count]


def labelled(data: str, photo: str) -> tuple[np.ndarray, np.ndarray]:
    """A prepared photo uint8 (H, W, 3) and its label map uint8 (H, W)."""
    folder = paths.data_folder(data)
    return photos.read(folder / f"images/{photo}.jpg").rgb, prepared.label_map(folder, photo)


def richest(data: str, kept: list[int], among: int = 100) -> str:
    """The photo with the most of the classes `kept` (values), of the first `among` in the test split."""
    folder = paths.data_folder(data)
    names = prepared.ids(folder, "test")[:among]
    return max(names, key=lambda name: len(np.intersect1d(prepared.label_map(folder, name), kept)))


def _cut_by(rgb: np.ndarray, p: np.ndarray, edge: str) -> tuple[np.ndarray, np.ndarray]:
    """Alpha uint8 (H, W) from the probability `p`, and the cut-out RGBA over a checkerboard."""
    alpha, _ = edges.alpha_of(rgb, p, edge)
    return alpha, checkerboard(edges.estimate_foreground(rgb, alpha))


def steps(rgb: np.ndarray, model, choice: segment.Choice, edge: str = "hard") -> dict[str, np.ndarray]:
    """The four steps from a photo uint8 (H, W, 3) to its cut-out: title -> picture uint8 (H, W, 3).

    In the probabilities each class has its colour, the stronger the more probable. The kept classes are the
    probability that a pixel stays, before `segment.remove_specks`; the tidied mask shows what that changed.
    """
    size = rgb.shape[:2]
    scores = segment.probabilities(rgb, model)
    colours = colour_map(np.arange(len(scores)))
    colours[0] = 255  # background: white
    mixed = np.einsum("chw,ck->hwk", scores, colours.astype(np.float32)).round().astype(np.uint8)
    raw = segment.resized(segment.raw_keep_probability(scores, choice), size)
    p = segment.keep_probability(scores, choice, size)
    alpha, picture = _cut_by(rgb, p, edge)
    tidied = _grey(p >= 0.5)
    tidied[(raw >= 0.5) & (p < 0.5)], tidied[(raw < 0.5) & (p >= 0.5)] = REMOVED, FILLED
    return {
        "1 probabilities": cv2.resize(mixed, size[::-1]),
        "2 kept classes": _grey(raw),
        "3 tidied mask": tidied,
        "4 alpha": _grey(alpha / 255),
        "cut-out": picture,
    }


def seen(rgb: np.ndarray, model, count: int = 4) -> list[str]:
    """Names of the largest garments, at most `count`, that the model sees in a photo uint8 (H, W, 3)."""
    classes = model.metadata["classes"]
    areas = np.bincount(segment.probabilities(rgb, model).argmax(axis=0).ravel(), minlength=len(classes))
    largest = sorted(garment_values(classes), key=lambda value: -areas[value])[:count]
    return [classes[value] for value in largest if areas[value]]


def garments(rgb: np.ndarray, model, names: list[str], edge: str = "hard") -> list[np.ndarray]:
    """A picture uint8 (H, W, 3) of each garment of `names` alone; "sees none" where the model sees none."""
    scores = segment.probabilities(rgb, model)
    made = []
    for name in names:
        choice = segment.wanted(model.metadata["classes"], keep=[name])
        alpha, picture = _cut_by(rgb, segment.keep_probability(scores, choice, rgb.shape[:2]), edge)
        made.append(picture if alpha.any() else _written(picture, "sees none"))
    return made


def edge_details(rgb: np.ndarray, truth: np.ndarray, model, choice: segment.Choice) -> dict[str, np.ndarray]:
    """Title -> picture of the square in which the kinds of edge differ most along the border of `truth`.

    `rgb` is uint8 (H, W, 3), `truth` bool (H, W). The pictures: the photo, the true cut-out, one for each of
    `edges.EDGES`.
    """
    p = segment.keep_probability(segment.probabilities(rgb, model), choice, truth.shape)
    alphas = {edge: edges.alpha_of(rgb, p, edge)[0] for edge in edges.EDGES}
    box = edge_window(list(alphas.values()), truth, max(16, min(truth.shape) // 6))
    cuts = {"truth": truth * np.uint8(255), **alphas}
    shown = {name: edges.estimate_foreground(rgb, alpha)[box] for name, alpha in cuts.items()}
    return {"photo": rgb[box], **{name: checkerboard(rgba, 8) for name, rgba in shown.items()}}


def edge_window(alphas: list[np.ndarray], truth: np.ndarray, side: int) -> tuple[slice, slice]:
    """The square of `side` pixels, as slices, in which `alphas` differ most near the border of `truth`.

    Where they differ nowhere near it, the square with the longest border.
    """
    reach = max(1, side // 20)
    near = np.ones((2 * reach + 1,) * 2, np.uint8)
    border = cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_GRADIENT, near)
    weight = border * (np.ptp(np.stack(alphas), axis=0) + np.float32(0.01))
    total = cv2.GaussianBlur(weight, (0, 0), side / 4, borderType=cv2.BORDER_CONSTANT)  # most in the middle
    centre = np.unravel_index(total.argmax(), total.shape)
    top, left = (int(np.clip(c - side // 2, 0, n - side)) for c, n in zip(centre, total.shape, strict=True))
    return slice(top, top + side), slice(left, left + side)


def worst(data: str, kept: list[int], model, choice: segment.Choice, among: int, count: int = 3) -> list[str]:
    """The `count` photos whose cut-outs have the lowest IoU, of the first `among` in the test split.

    `kept` are the label values of the true cut-out. Photos without one are left out where others are left.
    """
    names = prepared.ids(paths.data_folder(data), "test")[:among]
    masks = {name: np.isin(labelled(data, name)[1], kept) for name in names}
    candidates = [name for name in names if masks[name].any()] or names
    ious = {name: _scored(labelled(data, name)[0], masks[name], model, choice)[1] for name in candidates}
    return sorted(ious, key=ious.get)[:count]


def against_truth(data: str, name: str, kept: list[int], models_: list, choices: list):
    """A test photo, its true cut-out and each model's, as pictures; and the models' IoUs in words."""
    rgb, label_map = labelled(data, name)
    truth = np.isin(label_map, kept)
    ours = [_scored(rgb, truth, *one) for one in zip(models_, choices, strict=True)]
    cuts = [np.dstack([rgb, truth * np.uint8(255)]), *(rgba for rgba, _ in ours)]
    said = ", ".join(f"{iou:.0%}" for _, iou in ours)
    return [rgb, *map(checkerboard, cuts)], f"{name}: IoU {said}"


def _scored(rgb: np.ndarray, truth: np.ndarray, model, choice: segment.Choice) -> tuple[np.ndarray, float]:
    """The model's cut-out RGBA and its IoU with `truth` bool (H, W)."""
    rgba = one_photo.cut(photos.Photo(rgb), model, choice).rgba
    mask = rgba[..., 3] >= 128
    return rgba, (mask & truth).sum() / max(1, (mask | truth).sum())


def panel(
    sources, choices: dict, subject: str = "apparel", keep=None, edge: str = "hard", background: str = "none"
) -> dict:
    """Show the controls and, below them, the picture of the current choice.

    `sources` are paths of photos, `choices` loaded models by name. `keep` (classes or groups; None: all of
    `subject`), `edge` and `background` (one of GROUNDS) are the first choice. An upload becomes one more
    photo. Returns the controls (ipywidgets) by name.
    """
    import ipywidgets as widgets  # here: only notebooks have a use for them
    from IPython.display import display

    first, *others = (model.metadata["classes"] for model in choices.values())
    names = [name for name in first if name != BACKGROUND and all(name in other for other in others)]
    wanted = [first[value] for value in segment.wanted(first, subject, keep).kept] if keep else ()
    files = [(Path(path).name, path) for path in sources]
    controls = {
        "photo": widgets.Dropdown(options=files, description="photo"),
        "model": widgets.Dropdown(options=list(choices.items()), description="model"),
        "edge": widgets.ToggleButtons(options=edges.EDGES, value=edge, description="edge"),
        "background": widgets.Dropdown(options=GROUNDS, value=background, description="background"),
        "keep": widgets.SelectMultiple(options=names, value=wanted, rows=8, description="keep"),
    }
    upload = widgets.FileUpload(accept="image/*", description="your photo")
    said = widgets.HTML()
    folder = tempfile.TemporaryDirectory(prefix="fashionlib-")  # removed with the notebook's kernel

    def chosen() -> Image.Image:
        made, said.value = picture(subject=subject, **{name: one.value for name, one in controls.items()})
        return made

    def uploaded(change) -> None:
        for file in change["new"]:
            path = Path(folder.name) / Path(file["name"]).name
            path.write_bytes(file["content"])
            controls["photo"].options = [*controls["photo"].options, (path.name, path)]
            controls["photo"].value = path

    *left, right = controls.values()
    display(widgets.HBox([widgets.VBox([upload, *left, said]), right]))
    shown = display(chosen(), display_id=True)
    for control in controls.values():
        control.observe(lambda _: shown.update(chosen()), names="value")
    upload.observe(uploaded, names="value")
    return controls | {"upload": upload, "said": said}


def picture(
    model, photo, keep=(), edge: str = "soft", background: str = "none", subject: str = "apparel"
) -> tuple[Image.Image, str]:
    """The photo at the path `photo` beside its cut-out, and a sentence on its size and on any problem.

    The background "none" is a checkerboard. A file that is no photo gives an empty picture.
    """
    try:
        rgb = photos.read(photo).rgb
    except photos.PhotoError as error:
        return Image.new("RGB", (SIDE, SIDE), "white"), str(error)
    height, width = rgb.shape[:2]
    rgb = compose.frame(rgb[..., 0], size=min(SIDE, max(height, width)))(rgb)
    choice = segment.wanted(model.metadata["classes"], subject, list(keep) or None)
    made = one_photo.cut(photos.Photo(rgb), model, choice, edge)
    size = f"Shown and cut out at {rgb.shape[1]} x {rgb.shape[0]} of {width} x {height} pixels."
    over = compose.picture(made.rgba, rgb, compose.frame(made.rgba[..., 3]), background)
    both = np.hstack([rgb, checkerboard(over) if background == "none" else over])
    return Image.fromarray(both), " ".join([size, *made.notes])


def _grey(values: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 (H, W) as a grey picture uint8 (H, W, 3)."""
    return np.repeat((values * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def _written(rgb: np.ndarray, text: str) -> np.ndarray:
    image = Image.fromarray(rgb)
    middle = image.width / 2, image.height / 2
    ImageDraw.Draw(image).text(middle, text, fill="black", anchor="mm", font_size=image.width / 7)
    return np.asarray(image)
