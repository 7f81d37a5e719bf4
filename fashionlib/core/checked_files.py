"""Validating readers for text, JSON and CSV files; every error is one sentence that names the file."""

import json
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import pandas as pd

# Exceptions that decoders raise on damaged files. Pillow's DecompressionBombError is a subclass of none of
# the others. MemoryError is not included: it is the machine's fault, not the file's.
DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError),
    *(NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError),
)


def shown(text: str) -> str:
    """`text` quoted and escaped on one line, truncated to fit into an error message."""
    if len(text) <= 40 and len(repr(text)) <= 42:
        return repr(text)
    kept = text[:37]
    while len(repr(kept)) > 39:  # an escaped character takes up to ten
        kept = kept[:-1]
    return repr(kept + "...")


def reason(error: Exception) -> str:
    """A decoder's error message on one line, without the final full stop; its type if there is none."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def check_file(path: str | Path, refuse: type[ValueError] = ValueError) -> Path:
    """Return `path`; raises `refuse` if it exists but is not a file: reading a pipe could block forever."""
    path = Path(path)
    if path.exists() and not path.is_file():
        what = "folder" if path.is_dir() else "pipe, a socket or a device"
        raise refuse(f"{path} is a {what} and must be a file.")
    return path


def text(path: str | Path, refuse: type[ValueError] = ValueError) -> str:
    """Content of a UTF-8 text file, with or without a byte-order mark.

    Raises `refuse` if it is not UTF-8 text, FileNotFoundError if it is missing.
    """
    path = check_file(path, refuse)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(f"{path} is no UTF-8 text (byte {error.start}): save or fetch it again.") from None


def json_object(
    path: str | Path,
    needed: dict[str, type],
    advice: str,
    refuse: type[ValueError] = ValueError,
) -> dict:
    """The object in a JSON file, which must have the keys in `needed` with values of the given types.

    Raises `refuse` with a message that ends in `advice`, FileNotFoundError if the file is missing.
    """
    content = text(path, refuse)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refuse(f"{path} is not valid JSON ({reason(error)}): {advice}.") from None
    if not isinstance(found, dict):
        raise refuse(f"{path} holds no JSON object: {advice}.")
    for name, kind in needed.items():
        if not isinstance(found.get(name), kind):
            what = "lacks" if name not in found else f"has no {kind.__name__} as"
            raise refuse(f"{path} {what} {name!r}: {advice}.")
    return found


def lines(path: str | Path, refuse: type[ValueError] = ValueError) -> list[str]:
    """Non-empty lines of a text file, such as the ids of a split."""
    return [line for line in text(path, refuse).splitlines() if line]


def table(
    path: str | Path, columns: tuple[str, ...], refuse: type[ValueError] = ValueError, **options
) -> "pd.DataFrame":
    """A CSV file as a table of strings, including blank lines; it must contain each of `columns` once.

    Strings preserve ids such as "0012" and "NA" and let error messages quote bad numbers. `options` are
    passed to `pandas.read_csv`. Raises `refuse` for a bad file, FileNotFoundError if it is missing.
    """
    import pandas as pd  # here: cut-outs read no tables

    path = check_file(path, refuse)
    try:
        found = pd.read_csv(
            path, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig", **options
        )
    except ValueError as error:  # includes pandas' own errors and UnicodeDecodeError
        raise refuse(f"{path} can't be read as CSV: {reason(error)}.") from None
    if not isinstance(found.index, pd.RangeIndex):  # pandas used the surplus first fields as index
        raise refuse(f"{path} can't be read as CSV: its rows have more fields than its header names.")
    names = ", ".join(map(shown, list(found.columns)[:10])) + (", …" if len(found.columns) > 10 else "")
    if missing := [name for name in columns if name not in found]:
        raise refuse(
            f"{path} has no column {', '.join(map(repr, missing))}: "
            f"its first row must name {', '.join(columns)}, and names {names}."
        )
    if twice := [name for name in columns if f"{name}.1" in found]:  # pandas' name for the second
        raise refuse(f"{path} has the column {twice[0]!r} twice: which one counts? Remove the other.")
    return found


def numbers(path: Path, columns: tuple[str, ...], remedy: str, texts: Collection[str] = ()) -> "pd.DataFrame":
    """A CSV file of this project with at least `columns`: numbers or empty cells, except in columns `texts`.

    Raises ValueError naming file, row and column; the message ends in `remedy`.
    """
    import pandas as pd

    try:
        found = table(path, columns)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}; {remedy}.") from None
    for name in found.columns.difference(texts, sort=False):
        cells = found[name]
        found[name] = pd.to_numeric(cells, errors="coerce")
        if (wrong := found[name].isna() & ~cells.isin(["", "nan"])).any():
            row = wrong.idxmax()
            raise ValueError(
                f"{path}, row {row + 2}: {name} is {shown(cells[row])}, which is no number; {remedy}."
            )
    return found
