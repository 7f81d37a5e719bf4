"""report.csv: what became of each photo of a batch, kept line by line so that a killed run is remembered."""

import csv
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from fashionlib import files
from fashionlib.cutout import preview

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

    @property
    def exit_code(self) -> int:
        """0, or 1 if a photo failed."""
        return int(self.failed > 0)


_COLUMNS = [field.name for field in fields(Row)]


class Report:
    """The rows of an output folder, those of earlier runs too; a context while rows are added.

    Each added row is on disk at once. Leaving the context writes the file anew, whole, failures first and
    then what is most in need of a look. Raises ValueError if there is a report.csv that is not ours.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows = {row["output"]: row for row in self._read()}
        self._file = None

    def is_done(self, output, key: str) -> bool:
        """Whether `output` was made before, from the same photo by the same model with the same options."""
        row = self._rows.get(str(output), {})
        return row.get("status") == "done" and row.get("key") == key

    def add(self, row: Row) -> None:
        """Remember `row`, in place of an earlier one of the same output."""
        self._rows[row.output] = {name: str(value) for name, value in asdict(row).items()}
        with files.writing(self.path):
            csv.DictWriter(self._file, _COLUMNS, lineterminator="\n").writerow(self._rows[row.output])
            self._file.flush()

    def add_all(self, rows: Iterable[Row], total: int, progress: bool = True) -> int:
        """Add rows as they come, under a bar with photos/s and time left; returns how many failed."""
        failed = 0
        with tqdm(rows, total=total, unit=" photos", mininterval=1, disable=not progress) as bar:
            for row in bar:
                self.add(row)
                failed += row.status == "failed"
        return failed

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
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != _COLUMNS:
                raise ValueError(f"{self.path} is not a report of cut-outs as this version writes"
                                 " them: choose another folder.")
            return [row for row in reader if None not in row.values()]  # torn lines have too few

    def _write_sorted(self) -> None:
        with files.whole(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows())
