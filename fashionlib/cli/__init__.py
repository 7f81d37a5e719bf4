"""The command line: ``fashionlib --help``. Thin: a command reads its options and calls one function.

Modules are imported inside the commands, so that help and mistakes answer at once.
"""

import os
import sys
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)
_GO_ON = ("cutout", "download", "prepare", "reproduce")  # when stopped and run again


class Commands(click.Group):
    """A group of commands that end with one sentence and exit code 1 on an expected error."""

    def main(self, *args, **options):
        """Run, and exit with 1 if the output could not be written."""
        if sys.stdout is None:
            click.echo("Error: The output can't be written: it is closed.", err=True)
            raise SystemExit(1)
        try:
            return super().main(*args, **options)
        finally:
            if lost := _output_lost(sys.exc_info()[1]):
                click.echo(f"Error: {lost}", err=True)
                raise SystemExit(1)

    def invoke(self, ctx: click.Context):
        """Run a command; an expected error, or Ctrl-C, becomes a ClickException with its sentence."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            again = "again to go on" if ctx.invoked_subcommand in _GO_ON else "to start again"
            raise click.ClickException(f"Stopped. Run the same command {again}.") from None
        except Exception as error:
            sentence = None if os.environ.get("FASHION_DEBUG") else _output_lost(error) or _sentence(error)
            if sentence is None:
                raise
            raise click.ClickException(sentence) from None


def _output_lost(error: BaseException | None) -> str:
    """A sentence if what was printed was lost, as an `error` without a file name may mean; else empty."""
    try:
        if isinstance(error, OSError) and not error.filename:
            sys.stdout.write("\n")  # what was lost is forgotten: would more be lost?
        sys.stdout.flush()
    except OSError as again:
        with open(os.devnull, "w") as nowhere:  # else Python tries once more when it ends, and prints that
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return f"The output can't be written: {again.strerror.lower()}."
    return ""


def _sentence(error: Exception) -> str | None:
    """The message of an expected error; None for any other, such as click's own."""
    from fashionlib.core import files, processes

    if processes.out_of_memory(error):
        text = str(error) or "no more to be had"
        advice = "close other programs, or take fewer workers or smaller photos. The same command goes on."
        return text if text.startswith("Out of memory") else f"Out of memory ({text}): {advice}"
    if found := files.disk_error(error):
        return str(found)
    if isinstance(error, ValueError | OSError | processes.WorkerLost):
        return str(error) or type(error).__name__
    return None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="fashionlib")
def main() -> None:
    """From raw fashion photos to label maps, trained segmenters, Table I, figures and cut-outs.

    raw/, data/ and runs/ lie in the repository, or where FASHION_HOME says. FASHION_DEBUG=1 shows the
    traceback of an error.
    """


from fashionlib.cli import cutouts, data, work  # noqa: E402, F401  (registers their commands)
