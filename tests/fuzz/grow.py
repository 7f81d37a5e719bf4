"""Keeps the shortest inputs found that go from one line of fashionlib to another as none did before."""

import hashlib
import importlib
import sys
from pathlib import Path

from fashionlib.core.paths import PROJECT

from . import CORPUS, corpus


def grow(target: str, found: Path) -> int:
    """Add to the target's corpus from the folder `found`; returns how many."""
    one = importlib.import_module(f"tests.fuzz.{target}").one
    seen = set().union(*(_steps(one, path.read_bytes()) for path in corpus(target)))
    added = 0
    for path in sorted(found.iterdir(), key=lambda path: path.stat().st_size):
        content = path.read_bytes()
        if new := _steps(one, content) - seen:
            seen |= new
            (CORPUS / target / f"found-{hashlib.sha256(content).hexdigest()[:8]}").write_bytes(content)
            added += 1
    return added


def _steps(one, content: bytes) -> set[tuple[str, int, int]]:
    """(file, line, next line) of all that runs in fashionlib."""
    steps, library = set(), str(PROJECT / "fashionlib")

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(library):
            return None
        before = frame.f_code.co_firstlineno

        def line(frame, event, _):
            nonlocal before
            steps.add((frame.f_code.co_filename, before, frame.f_lineno))
            before = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        one(content)
    finally:
        sys.settrace(None)
    return steps
