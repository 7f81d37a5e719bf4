"""The commands that README and the book's pages print, run as printed: ``python tests/readme_commands.py``.

.ci/run calls it after `make reproduce`, on the home that is finished then. Commands stand in bash blocks of
README and tools/book; what is not listed in ELSEWHERE or MISSING has to end with 0. One with ``>`` runs as in
a script, its output captured; all others in a pseudo-terminal, as a reader pastes them. The repository stays
as it is.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pages

from fashionlib.core import paths
from fashionlib.core.files import sha256
from fashionlib.models import PAPER

ELSEWHERE = {  # what is not run here, and why
    r"make (reproduce|test|setup|book)\b": ".ci/run runs it",
    r"make (lab|bench|soak|mutation|coverage|clean|publish)\b": "serves, takes hours or changes files",
    r"(source|cd|git|apt-get|sudo) ": "setting up: the environment is on PATH already",
    r"conda |pip ": "installs an environment of its own (tests/test_setup.py compares it)",
    r"kaggle |unzip ": "needs an account",
    r"fashionlib download ": "a download of gigabytes (test_sources_download.py has its own server)",
    r"fashionlib convert (ccp|fashionpedia) ": "needs that download (see tests/test_sources_*.py)",
    r"fashionlib reproduce --data (ccp|fashionpedia)": "needs that download, and trains for hours",
    r"fashionlib reproduce --data mine .*dinov2": "fetches DINOv2's weights",
    r".* --engine ray": "needs Ray and S3 (tests/cutout/test_on_ray.py has both)",
}
MISSING = r"\bimaterialist\b"  # the paper's photos: whoever has none is told which files, and how to get them
SENTENCE = (
    r"No (raw|prepared) data in \S*/imaterialist: (fill|make) it with `[^`]+`"
    r"|/imaterialist/train\.csv does not exist: fill \S* first \(README, section Data\)"
)


def commands() -> list[str]:
    """The commands of the bash blocks, page by page, in order, without comments."""
    bare = [" ".join(re.sub(r"(^|\s)#.*", "", line).split()) for line in pages.bash_lines()]
    return [part for line in bare for part in line.split(" && ") if part]


def trainings() -> list[str]:
    """Those that train one model on the sample: papermill's two forms."""
    return [each for each in commands() if "03_train.ipynb" in each and "-p data" not in each]


def of_model(command: str, model: str) -> str:
    """`command` with another model, and whatever words follow in `model`."""
    return re.sub(r"(-p model) \w+", rf"\1 {model}", command)


def run(command: str, folder: Path, home: Path | None = None) -> tuple[int, str]:
    """The exit code of `command` in `folder`, and what it said."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"FASHION_HOME": str(home)} if home else {}
    options = dict(cwd=folder, env=environment)
    if ">" in command:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, **options)
        return done.returncode, done.stdout + done.stderr
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, **options
    ) as child:
        os.close(theirs)
        said = b"".join(_until_closed(ours))
    os.close(ours)
    return child.returncode, said.decode(errors="replace")


def _until_closed(terminal: int) -> Iterator[bytes]:
    try:
        while part := os.read(terminal, 65536):
            yield part
    except OSError:  # on Linux the end of a terminal is an error
        return


def inputs(folder: Path) -> None:
    """What the commands read and a reader has: photos/, mine/, and every other photo that the pages name."""
    drawn = sorted(paths.raw_folder("sample").glob("test/*.jpg"))[:3]
    (folder / "notebooks").symlink_to(paths.NOTEBOOKS)
    (folder / "runs").symlink_to(paths.home() / "runs")
    (folder / "results").mkdir()
    (folder / "photos").mkdir()
    for photo in drawn:
        (folder / "photos" / photo.name).write_bytes(photo.read_bytes())
    from PIL import Image

    for name in set(re.findall(r"[\w/]+\.(?:jpe?g|tiff?)\b", "\n".join([*commands(), *snippets()]))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(drawn[0]) as photo:
            photo.save(folder / name)
    for part in ("photos", "masks"):
        (folder / "mine" / part).mkdir(parents=True)
    for number in range(20):
        for part, ground in (("photos/{}.jpg", "white"), ("masks/{}.png", "black")):
            picture = Image.new("RGB", (64, 64), ground)
            picture.paste((255, 0, 0), (16, 16, 32 + number, 48))
            picture.save(folder / "mine" / part.format(number))
    (folder / "mine/classes.csv").write_text("colour,class\n#ff0000,dress\n")


def snippets() -> list[str]:
    """The Python blocks."""
    return [block for page in pages.BOOK for block in pages.blocks(page, "python")]


def problem(command: str, folder: Path) -> str | None:
    """What is wrong with how `command` ends; None if it ends as it has to."""
    finished = {path: sha256(path) for path in paths.runs_folder("sample").glob("*/history.csv")}
    code, said = run(command, folder)
    if re.search(MISSING, command) and command.startswith(("fashionlib", "papermill")):
        good = code and re.search(SENTENCE, " ".join(said.split()))
        return None if good else f"exit code {code}, without the sentence {SENTENCE}: {said[-2000:]}"
    if code:
        return f"exit code {code}: {said[-2000:]}"
    again = [str(path) for path, before in finished.items() if sha256(path) != before]
    return f"finished runs were trained again: {again}" if again else None


def main() -> int:
    """Run them all; the exit code is 1 if one did not end as it has to."""
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        inputs(folder)
        todo = []
        for command in commands():
            todo += [of_model(command, model) for model in PAPER] if command in trainings() else [command]
        for number, snippet in enumerate(snippets()):
            (folder / f"snippet{number}.py").write_text(snippet)
            todo.append(f"python snippet{number}.py")
        for command in todo:
            if reason := next((why for rule, why in ELSEWHERE.items() if re.match(rule, command)), None):
                print(f"not run: {command}: {reason}", flush=True)
                continue
            begun = time.monotonic()
            found = problem(command, folder)
            bad += found is not None
            print(f"{'BAD' if found else 'ok'}  {time.monotonic() - begun:.0f} s  {command}", flush=True)
            if found:
                print(f"    {found}", flush=True)
    print(f"{bad} commands do not end as they have to." if bad else "The commands of README and book work.")
    return min(bad, 1)


if __name__ == "__main__":
    raise SystemExit(main())
