"""Segmentation for cut-outs: the model, its facts, and the foreground probability of each pixel."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fashionlib import models
from fashionlib.core.classes import BACKGROUND, GROUPS, PERSON, check_name
from fashionlib.core.processes import cores
from fashionlib.cutout.about import DEFAULT_MODEL, about, checkpoint  # noqa: F401  (read from here too)
from fashionlib.models import graph, maps

RUNTIMES = ("auto", "openvino", "torch")
_GPU = Path("/dev/nvidiactl")  # there where an NVIDIA driver is: asking torch would take seconds
SUBJECTS = ("apparel", "person")
WORK_PIXELS = 1_000_000  # a model sees about 512 x 768: more pixels cost memory and tell it nothing
SPECK = 1e-4  # of the photo's area: smaller islands and holes are removed (45 pixels of CCP's 550 x 825)
FAINT = 0.05  # probability up to which a pixel is no part of an island, or of a hole


class Choice(NamedTuple):
    """Label values of the `subject`, and those `kept`: a pixel stays where its strongest class is kept."""

    kept: list[int]
    subject: list[int]


def load_model(path=None, runtime: str = "auto", threads: int | None = None):
    """The model of a checkpoint, ready to use; None: the shipped model.

    Args:
        runtime: ``openvino`` for a checkpoint with its graph beside it (`fashionlib.models.graph`), which
            needs no torch; ``torch`` for any (`models.load`), on the GPU if there is one; ``auto``:
            OpenVINO where there is a graph, unless torch is installed and the machine has a GPU.
        threads: of the CPU; None: all cores that this process may use.

    Raises FileNotFoundError or ValueError with one sentence where that can't be.
    """
    path = checkpoint(path)
    threads = threads or cores()
    if chosen_runtime(path, runtime) == "openvino":
        return graph.GraphModel(path, threads)
    model = models.load(path)  # first: its error says how torch is installed
    import torch

    torch.set_num_threads(threads)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def is_loaded(model) -> bool:
    """Whether `model` is a loaded one, not None or a checkpoint's path."""
    return hasattr(model, "metadata")


def chosen_runtime(path: Path, runtime: str = "auto") -> str:
    """``openvino`` or ``torch``, as `load_model` chooses for the checkpoint `path`."""
    file = graph.path_of(path)
    if check_name(runtime, RUNTIMES, "runtime") == "openvino" and not file.is_file():
        raise ValueError(f"The runtime openvino needs the graph {file}, which is missing: choose torch.")
    if runtime != "auto":
        return runtime
    gpu = _GPU.exists() and find_spec("torch")
    return "torch" if gpu or not file.is_file() else "openvino"


def wanted(classes, subject: str = "apparel", keep=None, drop=None) -> Choice:
    """Label values to keep, for a model with these `classes` (names, position = label value).

    `subject` is the default foreground: ``apparel``, or the whole ``person`` (apparel, hair and skin).
    `keep` replaces that choice and `drop` subtracts from it; each is a string of names separated by commas,
    or a list of names. A name is a class, one word of it (``bag`` of ``bag, wallet``) or a group
    (``upperbody``).
    Raises ValueError for unknown names, for a person without hair and skin, and where nothing is left.
    """
    check_name(subject, SUBJECTS, "subject")
    if "" in (keep, drop):
        raise ValueError("keep and drop name classes or groups, such as dress or upperbody: '' names none.")
    values = {name: value for value, name in enumerate(classes) if name != BACKGROUND}
    body = [values[name] for name in PERSON.values() if name in values]
    if subject == "person" and len(body) < len(PERSON):
        raise ValueError(
            "This model has no hair and skin, so can't keep the person: use subject='apparel',"
            " or a model of the class set 'person'."
        )
    whole = set(values.values()) - (set(body) if subject == "apparel" else set())
    kept = (_named(keep, values) if keep else whole) - (_named(drop, values) if drop else set())
    if not kept:
        raise ValueError(f"keep={keep!r} and drop={drop!r} leave no class to keep.")
    return Choice(sorted(kept), sorted(whole | kept))


def regrouped(classes, groups: dict) -> dict[str, str]:
    """What each of the `classes` is called in a coarser list of one's own; background, if in none.

    `groups` maps each own name to classes or groups, as `wanted` takes them: ``{"top": "upperbody, dress"}``.
    Raises ValueError for unknown names and for a class in two of them.
    """
    values = {name: value for value, name in enumerate(classes) if name != BACKGROUND}
    called = dict.fromkeys(classes, BACKGROUND)
    for own, members in groups.items():
        for name in (classes[value] for value in sorted(_named(members, values))):
            if called[name] != BACKGROUND:
                raise ValueError(f"The class {name!r} is in {called[name]!r} and in {own!r}: choose one.")
            called[name] = own
    return called


def _named(names, values: dict[str, int]) -> set[int]:
    """Label values of names. Full names contain commas, so each of their parts names the class as well."""
    known = {part.strip(): {value} for name, value in values.items() for part in name.split(",")}
    known |= {
        group: members
        for group, names_ in GROUPS.items()
        if (members := {values[name] for name in names_ if name in values})
    }
    parts = (names if isinstance(names, str) else ",".join(names)).split(",")
    return set().union(*(known[check_name(part.strip(), known, "class or group")] for part in parts))


def probabilities(rgb: np.ndarray, model) -> np.ndarray:
    """Class probabilities float32 (C, h, w) of a photo uint8 (H, W, 3), at most WORK_PIXELS in size.

    Tightly framed photos are not padded first: on CCP validation photos cropped to the person, 10 % of edge,
    mean colour or mirror image all round cost 0.008, 0.016 and 0.017 of apparel IoU.
    """
    height, width = rgb.shape[:2]
    factor = min(1.0, (WORK_PIXELS / (height * width)) ** 0.5)
    size = max(1, int(width * factor)), max(1, int(height * factor))
    small = rgb if factor == 1 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    own = getattr(model, "probabilities", None)  # of a `GraphModel`
    return own(small) if own else models.probabilities(model, small)


def keep_probability(scores: np.ndarray, choice: Choice, size: tuple[int, int]) -> np.ndarray:
    """Foreground probability float32 (H, W), of `size`, without specks.

    It is that of the whole subject where its most probable class is kept, else 0. A skirt that might be a
    dress is thus cut out as one or the other, as in the label map, and never lost between the two.
    """
    return resized(remove_specks(raw_keep_probability(scores, choice)), size)


def raw_keep_probability(scores: np.ndarray, choice: Choice) -> np.ndarray:
    """`keep_probability` before specks are removed and it is resized, float32 (h, w)."""
    p = np.tensordot(np.isin(range(len(scores)), choice.subject).astype(np.float32), scores, 1)
    if choice.kept != choice.subject:
        p *= np.isin(choice.subject, choice.kept)[scores[choice.subject].argmax(axis=0)]
    return p


def remove_specks(p: np.ndarray) -> np.ndarray:
    """Probabilities without small islands and holes.

    An island is a connected component with p > FAINT. It becomes 0 if fewer than SPECK of the photo's pixels
    in it reach 1/2. A hole is an island of 1 - p and becomes 1 by the same rule.
    """
    return 1 - _without_islands(1 - _without_islands(p))


def _without_islands(p: np.ndarray) -> np.ndarray:
    n, pieces = cv2.connectedComponents((p > FAINT).astype(np.uint8), connectivity=8)
    firm = np.bincount(pieces[p >= 0.5], minlength=n)  # piece 0 is the rest: faint everywhere
    return np.where((firm < SPECK * p.size)[pieces], 0, p).astype(np.float32)


def resized(p: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of probabilities resized bilinearly to `size` = (H, W)."""
    return p if p.shape == tuple(size) else cv2.resize(p, size[::-1], interpolation=cv2.INTER_LINEAR)


def strongest(scores: np.ndarray, values: list[int], size: tuple[int, int]) -> np.ndarray:
    """The most probable of the classes `values` in each pixel of `size`: label values uint8 (H, W)."""
    winner = maps.upsampled_argmax(scores[values], tuple(size))
    return np.asarray(values, np.uint8)[winner]
