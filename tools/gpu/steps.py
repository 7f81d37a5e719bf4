"""Training steps of the paper's four models, ours and stock MMSegmentation's side by side, into a CSV file.

Stock is MMSegmentation's own build of the same config, with the same weights, optimiser and autocast, and
batch norm in place of SyncBN. Photos and label maps are noise and lie on the device: data loading is left
out. A row is written as soon as it is measured, so that a kill loses no row.
"""

import csv
import gc
import statistics
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from fashionlib import models, train
from fashionlib.models.network import network
from fashionlib.train.run_folder import device_name

CLASSES = 28
LARGE = 16  # photos of the second batch size, in bf16 alone
COLUMNS = (
    "model", "scale", "batch", "precision", "kind",
    "images_per_second",  # of the median step
    "low", "high",  # of the slowest and the quickest
    "peak_mb",  # of GPU memory, 2**20 bytes: this model, its optimiser and the batch; empty on a CPU
    "device", "torch",
)  # fmt: skip


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV file.")
@click.option(
    "--small", is_flag=True, help="Mini models, one or two photos, one timed step: a trial on a CPU."
)
def main(out: Path, small: bool) -> None:
    """Time a training step of each of the paper's models at 512 x 512 (under a minute on an H200)."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    failed, about = [], dict(device=device_name(), torch=torch.__version__)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in models.PAPER:
            try:
                for row in measure(name, small):
                    writer.writerow(row | about)
                    file.flush()
                    print(*row.values(), flush=True)
            except Exception:  # the other models' rows are worth having; borrowed minutes do not come back
                traceback.print_exc()
                failed.append(name)
    if failed:
        raise SystemExit(f"FAILED: {', '.join(failed)}")


def measure(name: str, small: bool) -> Iterator[dict]:
    """The rows of one model: the paper's batch in fp32 and bf16, then `LARGE` photos in bf16."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scale, rounds, warmup = ("mini", 1, 0) if small else ("full", 10, 3)
    recipe = train.Recipe.from_preset(
        "paper", model=name, data="noise", scale=scale, batch=1 if small else None
    )
    large = 2 if small else LARGE
    sides = pair(recipe, device)
    for size, precision in ((recipe.batch, "fp32"), (recipe.batch, "bf16"), (large, "bf16")):
        photos = batch(size, recipe.crop, device)
        for _ in range(warmup):
            for side in sides:
                side.step(photos, precision)
        for _ in range(rounds):
            for side in sides:
                side.timed_step(photos, precision)
        for side in sides:
            speeds = [size / seconds for seconds in side.seconds]
            yield dict(
                model=name,
                scale=scale,
                batch=size,
                precision=precision,
                kind=side.kind,
                images_per_second=round(statistics.median(speeds), 3),
                low=round(min(speeds), 3),
                high=round(max(speeds), 3),
                peak_mb=round(max(side.peaks) / 2**20) if side.peaks else "",
            )
            side.seconds.clear()
            side.peaks.clear()
    del sides, side, photos  # before the next model is built
    gc.collect()
    torch.cuda.empty_cache()


def pair(recipe: train.Recipe, device: torch.device) -> tuple["Side", "Side"]:
    """Ours and stock, of one and the same weights, on `device` and in training mode."""
    torch.manual_seed(0)
    with torch.device(device):  # a ViT-L's random numbers take a CPU ten seconds
        ours = models.build(recipe.model, CLASSES, recipe.scale, crop=recipe.crop)
        stock = revert_sync_batchnorm(network(recipe.model, CLASSES, recipe.scale, recipe.crop))
    stock.load_state_dict(ours.state_dict())
    sides = [("ours", ours), ("stock", stock)]
    return tuple(Side(kind, model.to(device).train(), recipe) for kind, model in sides)


def batch(size: int, crop: tuple[int, int], device: torch.device) -> tuple[torch.Tensor, list]:
    """`size` normalised noise photos (N, 3, h, w) and their label maps, as a data preprocessor gives them."""
    photos = torch.randn(size, 3, *crop, device=device)
    labels = torch.randint(0, CLASSES, (size, 1, *crop), device=device)
    return photos, [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


@dataclass
class Side:
    """A model with the optimiser of a recipe, and what its timed steps took."""

    kind: str
    model: torch.nn.Module
    recipe: train.Recipe

    def __post_init__(self) -> None:
        self.wrapper = build_optim_wrapper(self.model, train.config.optimiser(self.recipe))
        self.seconds, self.peaks = [], []

    def step(self, photos: tuple[torch.Tensor, list], precision: str) -> torch.Tensor:
        """Forward, loss, backward, optimiser step, gradients let go; the loss."""
        self.wrapper.precision = precision
        with self.wrapper.optim_context(self.model):
            loss, _ = self.model.parse_losses(self.model.loss(*photos))
        self.wrapper.update_params(loss)
        return loss.detach()

    def timed_step(self, photos: tuple[torch.Tensor, list], precision: str) -> None:
        """A `step` whose seconds and, on a GPU, peak memory are kept."""
        wait = torch.cuda.synchronize if photos[0].is_cuda else _nothing
        wait()
        if photos[0].is_cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        begun = time.perf_counter()
        self.step(photos, precision)
        wait()
        self.seconds.append(time.perf_counter() - begun)
        if photos[0].is_cuda:
            grown = torch.cuda.max_memory_allocated() - before
            self.peaks.append(grown + self.fixed_bytes() + _bytes([photos[0], *label_maps(photos)]))

    def fixed_bytes(self) -> int:
        """Bytes of weights, buffers and the optimiser's moments: the other side's lie beside them."""
        moments = [value for state in self.wrapper.optimizer.state.values() for value in state.values()]
        return _bytes([*self.model.state_dict().values(), *filter(torch.is_tensor, moments)])


def label_maps(photos: tuple[torch.Tensor, list]) -> list[torch.Tensor]:
    """The label maps of a `batch`."""
    return [sample.gt_sem_seg.data for sample in photos[1]]


def _nothing() -> None:
    """What there is to wait for on a CPU."""


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


if __name__ == "__main__":
    main()
