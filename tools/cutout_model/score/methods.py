"""What is scored: a model's cut-outs as `fashionlib cutout` makes them, and two ways that learn nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fashionlib import models
from fashionlib.core.classes import PERSON
from fashionlib.core.files import fingerprint
from fashionlib.cutout import baselines, load_model, photos, remove_background, segment
from fashionlib.evaluate.split import Split
from fashionlib.models import maps


@dataclass(frozen=True)
class ModelCutouts:
    """The cut-outs of a checkpoint with one kind of edge."""

    checkpoint: Path
    edge: str = "hard"
    tells_subjects = True

    @cached_property
    def model(self):
        """Loaded when first needed, in whichever process that is."""
        return load_model(self.checkpoint)

    @cached_property
    def metadata(self) -> dict:
        """The checkpoint's metadata."""
        return models.read_metadata(self.checkpoint)

    @property
    def name(self) -> str:
        """The run and epoch that the checkpoint names, else its file's name."""
        run, epoch = self.metadata.get("run"), self.metadata.get("epoch")
        return f"{run} epoch {epoch}" if run and epoch else self.checkpoint.stem

    @property
    def subjects(self) -> tuple[str, ...]:
        """What it can cut out."""
        return segment.SUBJECTS if set(PERSON.values()) <= set(self.metadata["classes"]) else ("apparel",)

    def about(self) -> dict:
        """Columns that say which model this is."""
        given = {key: self.metadata.get(key, "") for key in ("model", "scale", "init")}
        source = (self.metadata.get("init_report") or {}).get("source", "")
        given |= {"init_source": source, "trained_on": self.metadata.get("data", "")}
        return given | {"edge": self.edge, "checkpoint": fingerprint(self.checkpoint)}

    def check(self, split: Split) -> None:
        """ValueError if the classes are not the data's, or the model may know the photos of `split`."""
        if list(self.metadata["classes"]) != list(split.classes):
            raise ValueError(
                f"{self.checkpoint} has {len(self.metadata['classes'])} classes that are not the"
                f" {len(split.classes)} of {split.dataset['data']}: score it on its own data."
            )
        theirs, ours = self.metadata.get("fingerprint"), split.dataset["fingerprint"]
        if self.metadata.get("data") == split.dataset["data"] and theirs != ours:
            raise ValueError(
                f"{self.checkpoint} was trained on another preparation of {self.metadata['data']}"
                f" ({theirs}, now {ours}) and may know these photos."
            )

    def label_map(self, rgb: np.ndarray) -> np.ndarray:
        """Label values uint8 (H, W) of a photo uint8 (H, W, 3)."""
        return maps.upsampled_argmax(segment.probabilities(rgb, self.model), rgb.shape[:2])

    def infer(self, rgb: np.ndarray) -> None:
        """Inference alone, of one stage or two."""
        segment.probabilities(rgb, self.model)

    def cut(self, photo: Path, picture: Path, subject: str) -> None:
        """The whole way: decode, infer, edge, encode."""
        photos.write(picture, remove_background(photo, self.model, subject, edge=self.edge), "png")


@dataclass(frozen=True)
class ClassicalCutouts:
    """The cut-outs of a function from a photo to a mask, which knows no classes."""

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    subjects = segment.SUBJECTS
    tells_subjects = False

    def about(self) -> dict:
        """Columns that say which method this is."""
        return {"model": self.name, "init": "none", "trained_on": "nothing", "edge": "hard"}

    def check(self, split: Split) -> None:
        """It was trained on nothing."""

    def label_map(self, rgb: np.ndarray) -> None:
        """No classes."""

    def infer(self, rgb: np.ndarray) -> None:
        """The mask alone."""
        self.function(rgb)

    def cut(self, photo: Path, picture: Path, subject: str) -> None:
        """The whole way: decode, find the mask, encode."""
        rgb = photos.read(photo).rgb
        mask = self.function(rgb)[..., None]
        photos.write(picture, np.dstack([rgb * mask, mask * np.uint8(255)]), "png")


CLASSICAL = (
    ClassicalCutouts("GrabCut", baselines.grabcut),
    ClassicalCutouts("colour threshold", baselines.threshold),
)
