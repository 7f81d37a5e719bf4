"""The cut-out model trained longer, in minutes of a GPU; see README.md in this folder.

It goes on from a checkpoint that never learned from the validation photos, with the labelled training photos
and flat-lays of their garments, and the best candidate on validation photos comes back in pieces.
"""

import json
import os
import shutil
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

from fashionlib import models
from fashionlib.core.files import sha256, write_text
from fashionlib.data import prepared
from fashionlib.evaluate.split import Split
from tools.gpu import judge, longer

PIECE = 15 << 20  # bytes
KEPT = 2  # candidates that come back
THERE = click.Path(path_type=Path, exists=True)
PATH = click.Path(path_type=Path)


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Train the cut-out model on, on a GPU; judge and join what comes back."""


@main.command()
@click.argument("source", metavar="PREPARED", type=THERE)
@click.argument("home", type=PATH)
@click.option("--quality", default=55, help="WebP quality of the training photos.")
@click.option("--photos", type=int, help="Only so many of each split, for a trial.  [default: all]")
def carry(source: Path, home: Path, quality: int, photos: int | None) -> None:
    """Make HOME/data/<name> of PREPARED: training photos as small files, validation photos as they are."""
    out = home / "data" / source.name
    for name in ("images", "labels", "splits"):
        (out / name).mkdir(parents=True)
    for split in ("train", "val"):
        ids = prepared.ids(source, split)[:photos]
        write_text(out / "splits" / f"{split}.txt", "".join(f"{i}\n" for i in ids))
        for i in ids:
            shutil.copyfile(source / "labels" / f"{i}.png", out / "labels" / f"{i}.png")
            photo, target = source / "images" / f"{i}.jpg", out / "images" / f"{i}.jpg"
            if split == "val":
                shutil.copyfile(photo, target)
                continue
            with Image.open(photo) as image:  # OpenCV and Pillow look at the bytes, not at the name
                image.convert("RGB").save(target, "WEBP", quality=quality, method=6)
    shutil.copyfile(source / prepared.INFO, out / prepared.INFO)
    click.echo(f"{sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB in {out}")


@main.command()
@click.option("--home", required=True, type=THERE, help="As `carry` made it.")
@click.option("--start", required=True, type=THERE, help="Checkpoint to go on from.")
@click.option("--out", required=True, type=PATH, help="What comes back goes here.")
@click.option("--seconds", default=150.0, help="For training; flat-lays and scoring come on top.")
@click.option("--runs", default=",".join(longer.RUNS), help="Names, by commas.")
@click.option("--data", default="ccp-person")
@click.option("--flat-lays", default=200, help="How many to make of training photos.")
@click.option("--workers", default=4, help="Loader processes a run.")
@click.option("--trial", is_flag=True, help="Tiny windows and four photos: a trial on a CPU.")
def train(home, start, out, seconds, runs, data, flat_lays, workers, trial) -> None:
    """Train the runs side by side, judge the candidates, write the best of them in pieces to OUT."""
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes started from here share the cores
    begun, home = time.monotonic(), home.resolve()

    def say(words: str) -> None:
        click.echo(f"{time.monotonic() - begun:6.1f} s  {words}")

    out.mkdir(parents=True, exist_ok=True)
    learnt = longer.with_flat_lays(home, data, flat_lays) if flat_lays else data
    say(f"data are ready: {learnt}")
    begins = home / f"{longer.START}.safetensors"
    shutil.copyfile(start, begins)
    until = time.time() + seconds
    job = longer.Job(home, learnt, begins, until, until + 0.25 * seconds, workers, trial)
    done = longer.side_by_side(runs.split(","), job)
    for name, about in done.items():
        say(f"{name}: {json.dumps(about)}")
    folders = {name: Path(about["folder"]) for name, about in done.items() if about.get("epochs")}
    made = longer.candidates(folders, begins, home / "candidates")
    split_file(list(made.values())[-1], out)  # should judging fail, this is something
    say(f"{len(made)} candidates")
    found = longer.judged(made, home, data)
    arrays = {f"{name}/{key}": array for name, part in found.items() for key, array in part.items()}
    np.savez_compressed(out / "counts.npz", **arrays)
    table = {
        name: {key: float(value[0]) for key, value in judge.scores(part).items()}
        for name, part in found.items()
    }
    ranked = sorted(made, key=lambda name: sum(table[name].values()), reverse=True)
    for name in ranked:
        say(f"{name}: {judge.line(found[name])}")
    for piece in out.glob("*.safetensors.*"):
        piece.unlink()
    kept = [name for name in ranked if name != longer.START][:KEPT]
    sums = {name: split_file(made[name], out) for name in kept}
    about = dict(
        ranked=ranked, scores=table, runs=done, sha256=sums, flat_lays=flat_lays, start=sha256(start)
    )
    write_text(out / "scores.json", json.dumps(about, indent=1) + "\n")
    say(f"{' and '.join(sums)} are in {out}")


def split_file(path: Path, out: Path, size: int = PIECE) -> str:
    """Write the file in pieces <name>.00, .01 … of `size` bytes to `out`; returns the whole's SHA-256."""
    content = path.read_bytes()
    for i, begin in enumerate(range(0, len(content), size)):
        (out / f"{path.name.replace('+', '-')}.{i:02}").write_bytes(content[begin : begin + size])
    return sha256(path)


@main.command()
@click.argument("folder", type=THERE)
@click.argument("name")
@click.argument("out", type=PATH)
def join(folder: Path, name: str, out: Path) -> None:
    """Join the pieces of the candidate NAME in FOLDER to the checkpoint OUT."""
    pieces = sorted(folder.glob(f"{name.replace('+', '-')}.safetensors.[0-9][0-9]"))
    out.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    if sha256(out) != json.loads((folder / "scores.json").read_text())["sha256"].get(name):
        out.unlink()
        raise click.ClickException(
            f"{folder} does not hold all of {name}, or it was changed: fetch it again."
        )
    models.load(out)
    click.echo(f"Wrote {out}.")


@main.command()
@click.argument("checkpoint", type=THERE)
@click.argument("out", type=PATH)
@click.option("--home", type=PATH, help="The folder with data/.  [default: FASHION_HOME, or the project]")
@click.option("--data", default="ccp-person")
@click.option("--split", default="val")
@click.option("--threads", default=1)
def score(checkpoint: Path, out: Path, home: Path | None, data: str, split: str, threads: int) -> None:
    """Count a CHECKPOINT's cut-outs on a split, photo by photo, into the counts file OUT (.npz)."""
    found = judge.counts(checkpoint, Split.read(data, split, home), threads)
    np.savez_compressed(out, **found)
    click.echo(judge.line(found))


@main.command()
@click.argument("new", type=THERE)
@click.argument("old", type=THERE)
@click.option("--candidate", help="Of NEW, if that holds several.")
@click.option("--before", help="Of OLD, likewise.")
def compare(new: Path, old: Path, candidate: str | None, before: str | None) -> None:
    """Differences NEW - OLD of two counts files, with 95 % intervals by a bootstrap paired by photo."""
    for name, (step, low, high) in judge.differences(_read(new, candidate), _read(old, before)).items():
        click.echo(f"{name}: {step:+.4f} ({low:+.4f} to {high:+.4f})")


def _read(path: Path, name: str | None) -> judge.Counts:
    prefix = f"{name}/" if name else ""
    with np.load(path) as file:
        return {key.removeprefix(prefix): file[key] for key in file if key.startswith(prefix)}


if __name__ == "__main__":
    main()
