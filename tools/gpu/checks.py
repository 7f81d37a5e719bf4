"""Checks of what tests on a CPU can't see: bf16, SyncBN, resuming and scoring on a GPU, at mini scale.

Each check prints one line, ``ok …`` or ``FAILED …``, and the next one runs in any case. Without a GPU they
run on the CPU, which tries the script.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from signal import SIGINT
from unittest.mock import patch

import click
import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from mmcv.cnn.bricks.drop import DropPath
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm as synchronised

from fashionlib import evaluate, models, train
from fashionlib.core import paths
from fashionlib.data import prepare, raw, rle
from fashionlib.evaluate.split import Split
from tools.gpu.steps import Side, batch, pair

DATA, PHOTOS = "noise", 20
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STILL = (DropPath, nn.modules.dropout._DropoutNd)  # whose draws would differ from one precision to the other


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Text file.")
def main(out: Path) -> None:
    """Run every check, print a line a check and write the same lines to OUT; ends with 1 if one failed."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        home = made_home(Path(folder))
        for check in (bf16, stock, resumed, scored, sync_bn):
            lines.append(result(check, home))
            print(lines[-1], flush=True)
            out.write_text("\n".join([*lines, ""]))
    raise SystemExit(any(line.startswith("FAILED") for line in lines))


def made_home(home: Path) -> Path:
    """`home` with a prepared data set of noise photos, 96 high and 72 wide, with a bright skirt on each."""
    folder, rng, rows = home / "raw" / DATA, np.random.default_rng(0), []
    (folder / "train").mkdir(parents=True)
    for i in range(PHOTOS):
        photo, skirt = rng.integers(0, 256, (96, 72, 3), np.uint8), np.zeros((96, 72), bool)
        top, left = rng.integers(10, 40, 2)
        skirt[top : top + 45, left : left + 30] = True
        photo[skirt] = 220
        Image.fromarray(photo).save(folder / "train" / f"{i}.jpg")
        rows.append([f"{i}", rle.encode(skirt), 96, 72, 8])
    raw.write(folder, pd.DataFrame(rows, columns=list(raw.COLUMNS[:5])), "drawn for tools.gpu.checks")
    prepare.prepare(folder, home / "data" / DATA, progress=False, workers=1)
    return home


def result(check: Callable[[Path], str], home: Path) -> str:
    """The line of one check; `home` holds a prepared data set."""
    try:
        return f"ok {check.__name__}, {DEVICE.type}: {check(home)}"
    except Exception as error:
        return f"FAILED {check.__name__}, {DEVICE.type}: {type(error).__name__}: {error}".replace("\n", " ")


def bf16(_) -> str:
    """A step of a mini Segmenter in bf16: its loss is fp32's within 1 %, its gradients are finite."""
    side, photos = sides("segmenter_vit_t")[0], some_photos()
    exact, _ = step(side, photos, "fp32")
    loss, gradients = step(side, photos, "bf16")
    off = abs(loss - exact) / exact
    assert off <= 0.01, f"loss {loss:.5f} in bf16, {exact:.5f} in fp32"
    assert all(gradient.isfinite().all() for gradient in gradients.values()), "gradients that are not finite"
    return f"loss {loss:.5f}, in fp32 {exact:.5f}; {len(gradients)} finite gradients"


def stock(_) -> str:
    """Our attention, heads and loss give MMSegmentation's loss and gradients in fp32, to 1e-4."""
    worst, photos = {}, some_photos()
    for name in models.PAPER:
        worst[name] = apart(*(step(side, photos, "fp32") for side in sides(name)))
    return within(1e-4, "MMSegmentation", worst)


def resumed(home: Path) -> str:
    """A run that is stopped in the middle and resumed has the uninterrupted run's weights, to 1e-3."""
    whole, again, stopped = (weights(home, variant) for variant in ("", "again", "stopped"))
    noise, off = distance(whole, again), distance(whole, stopped)
    words = f"bit-equal: {off == 0}; greatest difference {off:.1e}, of two uninterrupted runs {noise:.1e}"
    assert off <= 1e-3, words
    return words


def weights(home: Path, variant: str) -> dict[str, Tensor]:
    """Final weights of a mini run of an epoch; the one called ``stopped`` is stopped once and resumed."""
    recipe = train.Recipe.from_preset(
        "quick", model="segmenter_vit_t", data=DATA, scale="mini", epochs=1, batch=4, workers=2,
        precision="auto", optimizer="SGD", lr=0.01, warmup=0.0, variant=variant,
    )  # fmt: skip

    def stop(row: dict) -> None:
        if row["iter"] == 2:  # of 4
            os.kill(os.getpid(), SIGINT)

    if variant == "stopped":
        try:
            train.train(recipe, home=home, progress=False, on_iteration=stop)
        except KeyboardInterrupt:
            assert (paths.run_folder(recipe.data, recipe.name, home) / train.run_folder.LAST).is_file()
        else:
            raise AssertionError("the run was not stopped")
    return load_file(train.train(recipe, home=home, progress=False) / "epoch_1.safetensors")


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Greatest difference between two state dicts."""
    return max((one[key].double() - other[key].double()).abs().max().item() for key in one)


def scored(home: Path) -> str:
    """The run is scored, and its label maps in fp32 are the CPU's, up to 0.1 % of the pixels."""
    recipe = train.Recipe.from_preset("quick", model="segmenter_vit_t", data=DATA, scale="mini")
    table = evaluate.validate(DATA, [recipe.name], home, progress=False)
    assert len(table) == 1 and table.mIoU.between(0, 1).all()
    split = Split.read(DATA, "val", home)
    images = [split.load(photo)[0] for photo in split.ids]
    model = models.load(paths.run_folder(DATA, recipe.name, home) / "epoch_1.safetensors")
    ours, theirs = (models.predict_batch(model.to(device), images, "fp32") for device in (DEVICE, "cpu"))
    pixels = sum(label.size for label in ours)
    off = sum(int((a != b).sum()) for a, b in zip(ours, theirs, strict=True))
    words = f"{off} of {pixels} pixels differ from the CPU's; mIoU {table.mIoU[0]:.4f}"
    assert off <= 0.001 * pixels, words
    return words


def sync_bn(_) -> str:
    """SETR with SyncBN in a process group has BatchNorm's loss and gradients; on a CPU, BatchNorm's itself.

    With one process `torch.nn.SyncBatchNorm` calls plain batch norm: we call its synchronising kernel too.
    """
    on_gpu, photos = DEVICE.type == "cuda", some_photos()
    plain = sides("setr_mla")[0]
    wanted = step(plain, photos, "fp32")
    synchronous = models.build("setr_mla", scale="mini", sync_bn=on_gpu).to(DEVICE)
    synchronous.load_state_dict(plain.model.state_dict())
    side, worst = Side("SyncBN", synchronous, plain.recipe), {}
    with process_group():
        worst["module"] = apart(step(side, photos, "fp32"), wanted)
        if on_gpu:
            with patch.object(nn.SyncBatchNorm, "forward", _synchronised):
                worst["kernel"] = apart(step(side, photos, "fp32"), wanted)
    return within(1e-4, "BatchNorm", worst)


def apart(mine: tuple[float, dict], theirs: tuple[float, dict]) -> float:
    """The difference of two steps' losses or, if greater, of gradients in parts of the greatest one."""
    (loss, given), (exact, wanted) = mine, theirs
    assert given.keys() == wanted.keys(), "gradients of other weights"
    greatest = max(gradient.abs().max().item() for gradient in wanted.values())
    return max(abs(loss - exact), distance(given, wanted) / greatest)


def within(most: float, whom: str, worst: dict[str, float]) -> str:
    """The differences to `whom` in words, all of which must be at most `most`."""
    words = f"greatest difference to {whom}: " + ", ".join(f"{n} {off:.1e}" for n, off in worst.items())
    assert max(worst.values()) <= most, words
    return words


def _synchronised(norm: nn.SyncBatchNorm, x: Tensor) -> Tensor:
    """`norm` of `x` over a process group of one, through the kernel and the collectives of several."""
    numbers = (norm.running_mean, norm.running_var, norm.eps, norm.momentum)
    return synchronised.apply(x, norm.weight, norm.bias, *numbers, dist.group.WORLD, 1)


@contextmanager
def process_group() -> Iterator[None]:
    """A process group of this process alone; NCCL, on a machine without a network, meets itself on `lo`."""
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(
            "nccl" if DEVICE.type == "cuda" else "gloo",
            init_method=f"file://{folder}/meeting",
            world_size=1,
            rank=0,
            timeout=timedelta(seconds=30),
        )
        try:
            yield
        finally:
            dist.destroy_process_group()


def sides(name: str) -> tuple[Side, Side]:
    """Ours and stock of a mini model, by the paper's recipe."""
    return pair(train.Recipe.from_preset("paper", model=name, data=DATA, scale="mini"), DEVICE)


def some_photos() -> tuple[Tensor, list]:
    """Four noise photos of the mini models' crop, always the same."""
    torch.manual_seed(1)
    return batch(4, (128, 128), DEVICE)


def step(side: Side, photos: tuple[Tensor, list], precision: str) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of a step that leaves the weights as they are; nothing is dropped at random."""
    side.model.train()
    for module in side.model.modules():
        if isinstance(module, STILL):
            module.eval()
    with models.autocast(DEVICE, precision):
        loss, _ = side.model.parse_losses(side.model.loss(*photos))
    loss.backward()
    named = [(name, weight) for name, weight in side.model.named_parameters() if weight.grad is not None]
    gradients = {name: weight.grad.clone() for name, weight in named}
    side.model.zero_grad()
    return loss.item(), gradients


if __name__ == "__main__":
    main()
