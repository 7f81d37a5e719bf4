"""A panel for notebooks: a photo, what to keep of it, its edge and its ground, chosen by hand.

The picture is an ordinary output that the controls replace, not a widget: where nobody can click (papermill,
a page on the web) the first choice still stands there as a picture.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.classes import BACKGROUND
from fashionlib.cutout import compose, cut, edges, photos, segment
from fashionlib.figures import checkerboard

GROUNDS = ("none", "white", "blur", "#c8d8e8")
SIDE = 480  # pixels: a photo is shown, and cut out, no larger


def panel(sources, model, keep=(), edge: str = "soft", background: str = "none") -> dict:
    """Show the controls and, below them, the picture of the current choice.

    `sources` are paths of photos; `keep`, class names, none of which means all apparel, `edge` and
    `background` (one of GROUNDS) are what is chosen at first. Returns the controls (ipywidgets) by name.
    """
    import ipywidgets as widgets  # here: only notebooks have a use for them
    from IPython.display import display

    names = [name for name in model.meta["classes"] if name != BACKGROUND]
    controls = {
        "photo": widgets.Dropdown(options=[(Path(path).name, path) for path in sources], description="photo"),
        "keep": widgets.SelectMultiple(options=names, value=tuple(keep), rows=6, description="keep"),
        "edge": widgets.ToggleButtons(options=edges.EDGES, value=edge, description="edge"),
        "background": widgets.Dropdown(options=GROUNDS, value=background, description="background"),
    }

    def chosen() -> Image.Image:
        return picture(model, **{name: control.value for name, control in controls.items()})

    left, right = (widgets.VBox([controls[name] for name in part])
                   for part in (("photo", "edge", "background"), ("keep",)))
    display(widgets.HBox([left, right]))
    shown = display(chosen(), display_id=True)
    for control in controls.values():
        control.observe(lambda _: shown.update(chosen()), names="value")
    return controls


def picture(model, photo, keep=(), edge: str = "soft", background: str = "none") -> Image.Image:
    """The photo at the path `photo` beside its cut-out over a background, or over a checkerboard."""
    rgb = photos.read(photo).rgb
    rgb = compose.frame(rgb[..., 0], size=min(SIDE, max(rgb.shape[:2])))(rgb)
    choice = segment.wanted(model.meta["classes"], keep=list(keep) or None)
    rgba = cut.cut(photos.Photo(rgb), model, choice, edge).rgba
    made = compose.picture(rgba, rgb, compose.frame(rgba[..., 3]), background)
    return Image.fromarray(np.hstack([rgb, checkerboard(made) if background == "none" else made]))
