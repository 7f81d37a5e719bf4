"""A group of commands that turns expected errors into one sentence and exit code 1."""

import os
import sys

import click

EXTRAS = {  # module -> the extra of ours that installs it, where it is not train
    "pymatting": "matting", "numba": "matting", "onnxruntime": "onnx", "ray": "ray", "fsspec": "ray",
    **dict.fromkeys(
        ("matplotlib", "seaborn", "papermill", "nbformat", "nbconvert", "bs4", "ipywidgets", "IPython",
         "jupyterlab"), "notebooks"
    ),
}  # fmt: skip
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
            told = None if os.environ.get("FASHION_DEBUG") else _output_lost(error) or sentence(error)
            if told is None:
                raise
            raise click.ClickException(told) from None


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


def sentence(error: Exception) -> str | None:
    """The message of an expected error; None for any other, such as click's own."""
    from fashionlib.core import files, processes

    if processes.out_of_memory(error):
        text = str(error) or "no more to be had"
        advice = "close other programs, or take fewer workers or smaller photos. The same command goes on."
        return text if text.startswith("Out of memory") else f"Out of memory ({text}): {advice}"
    if found := files.disk_error(error):
        return str(found)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("fashionlib"):
        module = error.name.split(".")[0]
        return f"This needs {module}, not installed: pip install 'fashionlib[{EXTRAS.get(module, 'train')}]'."
    if isinstance(error, ValueError | OSError | processes.WorkerLost):
        return str(error) or type(error).__name__
    return None
