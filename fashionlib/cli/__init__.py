"""The command line: ``fashionlib --help``. Thin: a command reads its options and calls one function.

Modules are imported inside the commands, so that help and mistakes answer at once.
"""

import os
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)


class _Commands(click.Group):
    """A group whose commands end a foreseen error with its sentence and exit code 1."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.ClickException("Stopped. The same command goes on from here.") from None
        except (ValueError, OSError, MemoryError) as error:
            if os.environ.get("FASHION_DEBUG"):
                raise
            raise click.ClickException(str(error) or type(error).__name__) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="fashionlib")
def main() -> None:
    """From raw fashion photos to label maps, trained segmenters, Table I, figures and cut-outs.

    raw/, data/ and runs/ lie in the repository, or where FASHION_HOME says. FASHION_DEBUG=1 shows the
    traceback of an error.
    """


from fashionlib.cli import cutouts, data, work  # noqa: E402, F401  (registers their commands)
