"""report.csv: what became of each photo of a batch, kept line by line so that a killed run is remembered."""

import csv
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from fashionlib.core import files
from fashionlib.cutout import preview
from fashionlib.cutout.sources import readable

REPORT = "report.csv"
TAKEN = (REPORT, preview.PAGE, preview.SHEET, preview.WORST)  # names that no cut-out may have


@dataclass
class Row:
    """A photo's line. `quality`: the predicted IoU; `reasons`: what speaks against it; `votes`: regions in
    which rival garments were made one; `kept`: share of its pixels with alpha >= 128; `key`: what the picture
    depends on.
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
    votes: int = 0
    seconds: float = 0.0
    key: str = ""

    def fail(self, sentence: str) -> None:
        """Say that there is no picture, and why."""
        self.status, self.note = "failed", sentence


class Result(NamedTuple):
    """How many photos were cut out now, skipped as done before, and failed; `report` is report.csv's path."""

    done: int
    skipped: int
    failed: int
    report: Path | str
    reasons: tuple[str, ...] = ()  # a sentence for each that failed

    @property
    def exit_code(self) -> int:
        """0, or 1 if a photo failed."""
        return int(self.failed > 0)


_COLUMNS = [field.name for field in fields(Row)]


class Report:
    """The rows of an output folder, those of earlier runs too; a context while rows are added.

    Each added row is on disk at once. Leaving the context writes the file anew, whole, failures first and
    then what is most in need of a look. The rows say which files are ours: before one is written it is there.
    Raises ValueError if there is a report.csv that is not ours.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows = {row["output"]: row for row in self._read()}
        self._file = None

    def is_done(self, output, key: str) -> bool:
        """Whether `output` was made before, from the same photo by the same model with the same options."""
        row = self._rows.get(str(output), {})
        return row.get("status") == "done" and row.get("key") == key

    def expect(self, tasks: Iterable[tuple[str, str]], there: Callable[[str], bool]) -> None:
        """Add a row for each (output, source) that is to be made: failed, until it is.

        Raises ValueError if an output is `there` that this report does not know: somebody else's file.
        """
        for output, source in tasks:
            if output not in self._rows and there(output):
                raise ValueError(
                    f"{self.path.parent / output} is not in {self.path.name}, so not of ours:"
                    " move it, or choose another folder."
                )
            waiting = Row(output, source, "failed", note=f"{source}: stopped before its turn.")
            self._rows.setdefault(output, _texts(waiting))

    def add(self, row: Row) -> None:
        """Remember `row`, in place of an earlier one of the same output."""
        self._rows[row.output] = _texts(row)
        with files.explain_disk_errors(self.path):
            csv.DictWriter(self._file, _COLUMNS, lineterminator="\n").writerow(self._rows[row.output])
            self._file.flush()

    def add_all(self, rows: Iterable[Row], total: int, progress: bool = True) -> tuple[str, ...]:
        """Add rows as they come, under a bar with photos/s and time left; returns why some failed."""
        failed = []
        with tqdm(rows, total=total, unit=" photos", mininterval=1, disable=not progress) as bar:
            for row in bar:
                self.add(row)
                failed += [readable(row.note)] * (row.status == "failed")
        return tuple(failed)

    def rows(self, there: Callable[[str], bool] = lambda _: True) -> list[dict[str, str]]:
        """Failures, then from the lowest predicted quality to the highest whose picture is `there`."""

        def need(row: dict) -> tuple:
            return row["status"] != "failed", float(row["quality"]), row["output"]

        rows = (row for row in self._rows.values() if row["status"] == "failed" or there(row["output"]))
        return sorted(rows, key=need)

    def __enter__(self):
        self._write_sorted()  # a last line that a kill tore is gone before the next is added
        self._file = self.path.open("a", newline="", encoding="utf-8")
        return self

    def __exit__(self, *_):
        with suppress(OSError):  # of a full disk: what it could not take is told already
            self._file.close()
        self._write_sorted()

    def _read(self) -> list[dict]:
        if not self.path.is_file():
            return []
        foreign = f"{self.path} is not a report of cut-outs as this version writes them"
        try:
            with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames != _COLUMNS:
                    raise ValueError(f"{foreign}: choose another folder.")
                rows = [row for row in reader if None not in row.values()]  # torn lines have too few
        except csv.Error as error:
            raise ValueError(f"{foreign} ({error}): choose another folder.") from None
        for row in rows:
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
