"""report.csv: what became of each photo of a batch, kept line by line so that a killed run is remembered."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fashionlib import files


@dataclass
class Row:
    """A photo's line. `kept`: share of its pixels with alpha >= 128; `key`: what the picture depends on."""

    output: str
    source: str
    status: str = "done"  # or failed
    note: str = ""
    width: int = 0
    height: int = 0
    kept: float = 0.0
    seconds: float = 0.0
    key: str = ""


_COLUMNS = [field.name for field in fields(Row)]


class Report:
    """The rows of an output folder, those of earlier runs too; a context while rows are added.

    Each added row is on disk at once. Leaving the context writes the file anew, whole, failures first.
    Raises ValueError if there is a report.csv that is not ours.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows = {row["output"]: row for row in self._read()}
        self._file = None

    def is_done(self, output: Path, key: str) -> bool:
        """Whether `output` was made before, from the same photo by the same model with the same options."""
        row = self._rows.get(str(output), {})
        return row.get("status") == "done" and row.get("key") == key

    def add(self, row: Row) -> None:
        """Remember `row`, in place of an earlier one of the same output."""
        self._rows[row.output] = asdict(row)
        csv.DictWriter(self._file, _COLUMNS, lineterminator="\n").writerow(asdict(row))
        self._file.flush()

    def __enter__(self):
        self._write_sorted()  # a last line that a kill tore is gone before the next is added
        self._file = self.path.open("a", newline="", encoding="utf-8")
        return self

    def __exit__(self, *_):
        self._file.close()
        self._write_sorted()

    def _read(self) -> list[dict]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != _COLUMNS:
                raise ValueError(f"{self.path} is not a report of cut-outs: choose another folder.")
            return [row for row in reader if None not in row.values()]  # torn lines have too few

    def _write_sorted(self) -> None:
        rows = sorted(self._rows.values(), key=lambda row: (row["status"] != "failed", row["output"]))
        with files.whole(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
