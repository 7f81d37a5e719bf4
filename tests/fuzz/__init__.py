"""Fuzzing of what reads files that we did not make: ``python -m tests.fuzz codec --seconds 15``.

A module a target, whose ``one(content)`` reads the bytes as the library would and raises for anything but the
library's own errors, and for an answer that a slow and plain second implementation does not give. The inputs
in ``corpus/<target>/`` reach every branch of ours that the fuzzer found; every input that ever failed is kept
there too, named for what it showed.
"""

from pathlib import Path

TARGETS = ("codec", "csv", "png", "polygons")
CORPUS = Path(__file__).with_name("corpus")


def corpus(target: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted((CORPUS / target).iterdir())
