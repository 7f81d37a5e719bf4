"""The commands that make and score the shipped cut-out model: ``python -m tools.cutout_model --help``."""

from pathlib import Path

import click

from fashionlib.cli import EXISTING, FOLDER, Commands

FILE = click.Path(path_type=Path, dir_okay=False)
SIDE = click.IntRange(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Make training data for the cut-out model; average, calibrate and score checkpoints."""


@main.command()
@click.argument("prepared", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--split", default="train", help="Whose photos: train for training, test for a test.")
@click.option("--photos", "count", type=click.IntRange(1), default=400, help="Composites to make.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed makes other composites.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores if not given.")
def flatlay(prepared: Path, out: Path, **options) -> None:
    """Single garments of the PREPARED photos, large on other backgrounds: a raw folder OUT."""
    from tools.cutout_model import flatlay

    click.echo(f"Wrote {flatlay.make(prepared, out, **options)}.")


@main.command("pseudo-labels")
@click.argument("raw", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--model", type=EXISTING, help="Checkpoint that labels the tagged photos of RAW/test.")
@click.option("--add", type=FOLDER, multiple=True, help="Raw folder whose photos are added; several times.")
@click.option("--without", multiple=True, metavar="ID", help="A tagged photo to leave out; several times.")
def pseudo_labels(raw: Path, out: Path, model: Path | None, add: tuple, without: tuple) -> None:
    """Write RAW with more photos to OUT: pseudo-labelled ones, other folders. Trained on, never scored on."""
    from fashionlib import models
    from tools.cutout_model import pseudo_labels

    loaded = models.load(model) if model else None
    click.echo(f"Wrote {pseudo_labels.add(raw, out, loaded, add, without)}.")


@main.command()
@click.argument("checkpoint", type=EXISTING)
@click.option("--data", default="ccp-person", help="A prepared data set.")
@click.option("--out", type=FILE, default=Path("results/cutouts/naming.csv"))
def naming(checkpoint: Path, data: str, out: Path) -> None:
    """Rules that name garments by region or photo, on validation photos that CHECKPOINT never learnt from."""
    from tools.cutout_model.naming import compare_rules

    click.echo(compare_rules(data, checkpoint, out).to_string(index=False))


@main.command()
@click.argument("checkpoint", type=EXISTING)
@click.option("--data", default="ccp-person", help="A prepared data set.")
@click.option("--split", default="val", help="Of the data's photos.")
@click.option("--photos", type=click.IntRange(1), help="Only so many.  [default: all of the split]")
@click.option("--out", type=FILE, default=Path("results/cutouts/shortcuts.csv"))
def shortcuts(checkpoint: Path, data: str, out: Path, **which) -> None:
    """What int8 and unseen patches change and save, on photos that CHECKPOINT never learnt from."""
    from tools.cutout_model.shortcuts import compare

    click.echo(compare(data, checkpoint, out, **which).to_string(index=False))


@main.command()
@click.argument("checkpoint", type=EXISTING)
def graph(checkpoint: Path) -> None:
    """Write CHECKPOINT's network as an ONNX graph beside it, so that cut-outs need no torch."""
    from tools.cutout_model import graph

    click.echo(f"Wrote {graph.write(checkpoint)}.")


@main.command()
@click.argument("checkpoints", type=EXISTING, nargs=-1, required=True)
@click.argument("out", type=FILE)
@click.option(
    "--across-runs", is_flag=True, help="The runs began from one another, or from the same weights."
)
@click.option(
    "--resize", nargs=2, type=SIDE, metavar="LONG SHORT", help="Fit photos into this for inference."
)
@click.option(
    "--two-stage",
    type=(SIDE, SIDE, click.FloatRange(0, 1), SIDE),
    metavar="LONG SHORT MARGIN PIXELS",
    help="Fit the photo into LONG x SHORT to find the subject, then predict its box, wider by MARGIN of its "
    "longer side, at PIXELS in all.",
)
@click.option(
    "--context-weight",
    type=click.FloatRange(0, 1, max_open=True),
    help="With --two-stage: weight of the first stage's logits.",
)
@click.option(
    "--least",
    type=click.FloatRange(0, 1),
    help="With --two-stage: the second sees patches where, in or beside them, the subject is that probable.",
)
def average(checkpoints: tuple, out: Path, across_runs: bool, resize, two_stage, **second) -> None:
    """Average the weights of CHECKPOINTS and write them to OUT in int8: a quarter of the size."""
    from tools.cutout_model.average import average_checkpoints

    more = {"resize": list(resize)} if resize else {}
    given = {name: value for name, value in second.items() if value is not None}
    if given and not two_stage:
        option = "--" + next(iter(given)).replace("_", "-")
        raise click.UsageError(f"{option} is of two stages: say --two-stage as well.")
    if two_stage:
        long, short, margin, pixels = two_stage
        more["closer"] = {"first": [long, short], "margin": margin, "pixels": pixels}
        more["closer"] |= {"share" if name == "context_weight" else name: n for name, n in given.items()}
    average_checkpoints(checkpoints, out, across_runs, **more)
    click.echo(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB).")


@main.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("prepared", type=EXISTING)
@click.option("--by", type=EXISTING, help="Fit to cut-outs of this checkpoint, if MODEL saw the photos.")
def calibrate(model: Path, prepared: Path, by: Path | None) -> None:
    """Fit the predicted quality of MODEL's cut-outs to their IoU on the validation split of PREPARED.

    The fit is kept in the checkpoint MODEL itself and tried, with MODEL, on the test split.
    """
    from tools.cutout_model.calibrate import calibrate

    for subject, test in calibrate(model, prepared, by)["test"].items():
        click.echo(
            f"{subject}: on {test['photos']} test photos predicted and real IoU have a rank correlation"
            f" (Spearman) of {test['spearman']:.2f} and are {test['distance']:.3f} apart on average."
            f" Of the {test['worst']} worst photos {test['in_lowest_10']} are among the 10 % with the lowest"
            f" predicted quality, {test['in_lowest_20']} among the 20 %."
        )


@main.command()
@click.option("--data", required=True, help="A prepared data set: ccp-person.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option("--out", default="results/cutouts", type=FOLDER, help="Where scores.csv and scores.md go.")
@click.option("--split", default="test", help="Of the data's photos.")
@click.option("--edge", default="hard", help="hard, soft or matting.")
@click.option("--photos", type=int, help="Only so many, for a trial.  [default: all of the split]")
@click.option("--timed", default=20, help="Photos to time on one core and on two.")
@click.option("--classical/--no-classical", default=True, help="Also GrabCut and a colour threshold.")
def score(**options) -> None:
    """Score a model's cut-outs on photos whose labels are known, beside GrabCut and a threshold."""
    from tools.cutout_model import score

    score.score(**options)
    click.echo(f"Wrote {options['out'] / 'scores.md'}.")


@main.command("score-edges")
@click.option("--data", required=True, help="A prepared data set: ccp-person.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option("--out", default="results/cutouts", type=FOLDER, help="Where edges.csv and edges.md go.")
@click.option("--split", default="test", help="Whose garments and backgrounds.")
@click.option("--composites", "count", default=60, help="How many of each material.")
@click.option("--seed", default=0, help="Another seed makes other composites.")
def score_edges(model: Path | None, **options) -> None:
    """Measure the kinds of edge on cloth, hair, fur and knit whose alpha is known."""
    from fashionlib import cutout
    from tools.cutout_model.score import edges

    edges.score(model=cutout.load_model(model), **options)
    click.echo(f"Wrote {options['out'] / 'edges.md'}.")


if __name__ == "__main__":
    main()
