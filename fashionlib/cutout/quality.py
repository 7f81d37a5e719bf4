"""How good a cut-out probably is, for those who can look at some of a thousand photos only."""

from typing import NamedTuple


class Quality(NamedTuple):
    """`score` is the predicted IoU with the true cut-out, 0 to 1; `reasons` say what speaks against it."""

    score: float
    reasons: tuple[str, ...] = ()


GIVEN = Quality(1.0)  # of a mask that somebody made: not ours to judge
