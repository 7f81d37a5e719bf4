"""report.csv, appended row by row so that a killed run can resume; preview.html and the contact sheets."""

import csv
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from tqdm.auto import tqdm

from fashionlib.core import files
from fashionlib.cutout import compose, photos
from fashionlib.cutout.tasks import readable

REPORT, PAGE, SHEET, WORST = "report.csv", "preview.html", "preview.png", "worst.png"
TAKEN = (REPORT, PAGE, SHEET, WORST)  # names that no cut-out may have
SHOWN = 48  # cut-outs on a sheet

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{count} cut-outs</title>
<style>
body {{ font: 14px sans-serif; margin: 1rem }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1rem }}
figure {{ margin: 0 }}
img {{ width: 100%; height: 300px; object-fit: contain;
      background: repeating-conic-gradient(#ccc 0 25%, #fff 0 50%) 0 0 / 16px 16px }}
figcaption {{ overflow-wrap: anywhere }}
</style>
<h1>{count} cut-outs, those most in need of a look first</h1>
{failed}<main>
{figures}
</main></html>
"""
_FIGURE = """<figure><a href="{link}"><img loading="lazy" src="{link}" alt=""></a>
<figcaption>{name}<br>predicted quality {quality}{why}</figcaption></figure>"""


@dataclass
class Row:
    """Row of a photo.

    `quality`: predicted IoU; `reasons`: reasons for doubt; `kept`: fraction of pixels with alpha >= 128;
    `key`: the picture's cache key.
    """

    output: str
    source: str
    status: str = "done"  # or failed
    quality: float = 0.0
    reasons: str = ""
    note: str = ""
    width: int = 0
    height: int = 0
    kept: float = 0.0
    seconds: float = 0.0
    key: str = ""

    def fail(self, sentence: str) -> None:
        """Mark the photo as failed, with the reason."""
        self.status, self.note = "failed", sentence


class Result(NamedTuple):
    """Numbers of photos cut out now, skipped as up to date, and failed; `report` is report.csv's path."""

    done: int
    skipped: int
    failed: int
    report: Path | str
    reasons: tuple[str, ...] = ()  # a sentence for each failure

    @property
    def exit_code(self) -> int:
        """0, or 1 if a photo failed."""
        return int(self.failed > 0)


_COLUMNS = [field.name for field in fields(Row)]
_DROPPED = "votes"  # a column of earlier versions, whose folders are gone on with


class Report:
    """The rows of an output folder, those of earlier runs too; a context manager while rows are added.

    Each added row is on disk at once. Leaving the context rewrites the file: failures first, then by rising
    predicted quality. The rows say which files are ours: each is there before its picture is written.
    Raises ValueError for a report.csv that is not ours.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows = {row["output"]: row for row in self._read()}
        self._file = None

    def make(self, tasks: list, there: Callable[[str], bool], rows_of: Callable, progress: bool) -> Result:
        """Make what is missing or out of date of `tasks`, which have `photo`, `output` and `key`.

        ``rows_of(to_do)`` makes the pictures and yields their rows, in any order. Until then each has a row
        that says so. Raises ValueError for a file that is `there` but not in this report: somebody else's.
        """
        to_do = [task for task in tasks if not (self._is_done(task) and there(str(task.output)))]
        for task in to_do:
            output, source = str(task.output), str(task.photo)
            if output not in self._rows and there(output):
                raise ValueError(
                    f"{self.path.parent / output} is not in {self.path.name}, so not of ours:"
                    " move it, or choose another folder."
                )
            waiting = Row(output, source, "failed", note=f"{source}: stopped before its turn.")
            self._rows.setdefault(output, _texts(waiting))
        failed = []
        with self, tqdm(total=len(to_do), unit=" photos", mininterval=1, disable=not progress) as bar:
            for row in rows_of(to_do) if to_do else ():
                self.add(row)
                bar.update()
                failed += [readable(row.note)] * (row.status == "failed")
        counts = len(to_do) - len(failed), len(tasks) - len(to_do), len(failed)
        return Result(*counts, self.path, tuple(failed))

    def _is_done(self, task) -> bool:
        row = self._rows.get(str(task.output), {})
        return row.get("status") == "done" and row.get("key") == task.key

    def add(self, row: Row) -> None:
        """Add `row`, or replace the earlier row of the same output."""
        self._rows[row.output] = _texts(row)
        with files.explain_disk_errors(self.path):
            csv.DictWriter(self._file, _COLUMNS, lineterminator="\n").writerow(self._rows[row.output])
            self._file.flush()

    def rows(self, there: Callable[[str], bool] = lambda _: True) -> list[dict[str, str]]:
        """Failures first, then the rows whose picture is `there`, by rising predicted quality."""

        def need(row: dict) -> tuple:
            return row["status"] != "failed", float(row["quality"]), row["output"]

        rows = (row for row in self._rows.values() if row["status"] == "failed" or there(row["output"]))
        return sorted(rows, key=need)

    def __enter__(self):
        self._write_sorted()  # without a last line that a kill left incomplete
        self._file = self.path.open("a", newline="", encoding="utf-8")
        return self

    def __exit__(self, *_):
        with suppress(OSError):  # of a full disk: reported already
            self._file.close()
        self._write_sorted()

    def _read(self) -> list[dict]:
        if not self.path.is_file():
            return []
        foreign = f"{self.path} is not a report of cut-outs as this version writes them"
        try:
            with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(file)
                if [name for name in reader.fieldnames or () if name != _DROPPED] != _COLUMNS:
                    raise ValueError(f"{foreign}: choose another folder.")
                rows = [row for row in reader if None not in row.values()]  # None: an incomplete line
        except csv.Error as error:
            raise ValueError(f"{foreign} ({error}): choose another folder.") from None
        for row in rows:
            row.pop(_DROPPED, None)
            if None in row or row["status"] not in ("done", "failed") or not _is_number(row["quality"]):
                raise ValueError(f"{foreign}, in the row of {row['output']!r}: choose another folder.")
        return rows

    def _write_sorted(self) -> None:
        with files.atomic_write(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows())


def _texts(row: Row) -> dict[str, str]:
    return {name: readable(str(value)) for name, value in asdict(row).items()}


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def write_preview(folder: Path, rows: list[dict[str, str]]) -> list[Path]:
    """Write preview.html, worst.png and preview.png into `folder`; returns their paths.

    `rows` are the report's, worst first; those `on_sheets` have their picture in `folder`. The page links to
    pictures by their relative names.
    """
    written = [files.write_text(folder / PAGE, _page(rows))]
    for name, shown in zip((WORST, SHEET), on_sheets(rows), strict=True):
        if shown:
            photos.write(folder / name, compose.contact_sheet([folder / output for output in shown]), "png")
            written.append(folder / name)
    return written


def on_sheets(rows: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    """Outputs on the two sheets: the worst, and the first by name."""
    done = [row["output"] for row in rows if row["status"] == "done"]
    return done[:SHOWN], sorted(done)[:SHOWN]


def _page(rows: list[dict[str, str]]) -> str:
    """The page's HTML, which needs no file but the pictures and runs no script."""
    done = [row for row in rows if row["status"] == "done"]
    failed = [f"<li>{escape(row['note'])}\n" for row in rows if row["status"] == "failed"]
    figures = (
        _FIGURE.format(
            link=quote(Path(row["output"]).as_posix()),
            name=escape(row["output"]),
            quality=row["quality"],
            why="".join(f"<br>{escape(row[said])}" for said in ("reasons", "note") if row[said]),
        )
        for row in done
    )
    heading = f"<h2>Failed: {len(failed)}</h2><ul>\n{''.join(failed)}</ul>\n" if failed else ""
    return _PAGE.format(count=len(done), figures="\n".join(figures), failed=heading)
