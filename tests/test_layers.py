"""The order of the rooms: imports run one way and in no circle, and what is light loads no engine."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from fashionlib.core.paths import PROJECT

ROOMS = ["core", "data", "models", "train", "evaluate", "report", "cutout"]  # then the modules on top
FILES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (PROJECT / "fashionlib").rglob("*.py")
}


def imported(name: str) -> set[str]:
    """Modules of the package that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: import by the full name"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= submodules | ({node.module} if len(submodules) < len(node.names) else set())
    return (found & FILES.keys()) - {name}


GRAPH = {name: imported(name) for name in FILES}


def rank(name: str) -> int:
    room = name.split(".")[1] if "." in name else ""
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


def test_imports_run_one_way_and_in_no_circle():
    upward = [(name, other) for name, others in GRAPH.items() for other in others if rank(other) > rank(name)]
    assert not upward
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


LIGHT = {"data.rle": ["torch", "mmseg"], "cutout": ["torch", "mmseg", "cv2"]}
LIGHT["cli"] = [*LIGHT["cutout"], "pandas"]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_engine(module):
    code = f"import sys, fashionlib.{module}; print(*{{*{LIGHT[module]}}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.strip() == "" and done.returncode == 0, done.stdout + done.stderr
