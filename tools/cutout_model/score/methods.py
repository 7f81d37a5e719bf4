"""What is scored: a model's cut-outs as `fashionlib cutout` makes them, and the classical ways."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fashionlib import models
from fashionlib.core.classes import PERSON
from fashionlib.cutout import baselines, load_model, photos, remove_background, segment
from fashionlib.evaluate.runs import digest
from fashionlib.evaluate.split import Split

PACKAGE = Path(models.__file__).parent.parent


@dataclass(frozen=True)
class ModelCutouts:
    """The cut-outs of a checkpoint with one kind of edge."""

    checkpoint: Path
    edge: str = "hard"
    tells_subjects = True

    def __reduce__(self):
        """To another process go the path and the edge, not the loaded model."""
        return ModelCutouts, (self.checkpoint, self.edge)

    @cached_property
    def model(self):
        """Loaded when first needed, in whichever process that is."""
        return load_model(self.checkpoint)

    @cached_property
    def metadata(self) -> dict:
        """What the checkpoint says of itself."""
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

    @cached_property
    def key(self) -> str:
        """Changes with the weights, the edge, and the code that makes the cut-outs."""
        code = sorted([*PACKAGE.glob("cutout/*.py"), *PACKAGE.glob("models/*.py"), PACKAGE / "attention.py"])
        return _hashed([digest(self.checkpoint), self.edge, *map(digest, code)])

    def about(self) -> dict:
        """Columns that say which model this is."""
        report = self.metadata.get("init_report") or {}
        return {
            "model": self.metadata["model"], "scale": self.metadata["scale"], "init": self.metadata.get("init", ""),
            "init_source": report.get("source", ""), "trained_on": self.metadata.get("data", ""),
            "edge": self.edge, "checkpoint": digest(self.checkpoint),
        }  # fmt: skip

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
        return models.predict(self.model, rgb)

    def infer(self, rgb: np.ndarray) -> None:
        """The network alone, once or, where it looks closer, twice."""
        models.probabilities(self.model, rgb)

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

    @property
    def key(self) -> str:
        """Changes with the code of the two functions."""
        return _hashed([self.name, digest(baselines.__file__)])

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


def _hashed(parts: list[str]) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
