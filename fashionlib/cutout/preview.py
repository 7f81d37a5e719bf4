"""A batch at a glance: a page of all cut-outs and two contact sheets, for those who won't open each file."""

from html import escape
from pathlib import Path
from urllib.parse import quote

from fashionlib.core import files
from fashionlib.cutout import compose, photos

PAGE, SHEET, WORST = "preview.html", "preview.png", "worst.png"
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


def write(folder: Path, rows: list[dict[str, str]]) -> list[Path]:
    """Write the page, and a sheet of the worst cut-outs and of the first by name, into `folder`.

    `rows` are the report's, worst first, of pictures that exist: those `on_sheets` in `folder`. The page
    links to them by their relative names. Returns the files written.
    """
    done = [row for row in rows if row["status"] == "done"]
    text = page(done, [row for row in rows if row["status"] == "failed"])
    written = [files.write_text(folder / PAGE, text)]
    for name, shown in zip((WORST, SHEET), on_sheets(rows), strict=True):
        if shown:
            photos.write(folder / name, compose.contact_sheet([folder / output for output in shown]), "png")
            written.append(folder / name)
    return written


def on_sheets(rows: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    """The outputs that the two sheets show: the worst, and the first by name."""
    done = [row["output"] for row in rows if row["status"] == "done"]
    return done[:SHOWN], sorted(done)[:SHOWN]


def page(done: list[dict[str, str]], failed: list[dict[str, str]]) -> str:
    """The page's HTML: needs no other file but the pictures, and runs no script."""
    figures = (
        _FIGURE.format(
            link=quote(Path(row["output"]).as_posix()),
            name=escape(row["output"]),
            quality=row["quality"],
            why="".join(f"<br>{escape(row[said])}" for said in ("reasons", "note") if row[said]),
        )
        for row in done
    )
    notes = "".join(f"<li>{escape(row['note'])}\n" for row in failed)
    return _PAGE.format(
        count=len(done),
        figures="\n".join(figures),
        failed=f"<h2>Failed: {len(failed)}</h2><ul>\n{notes}</ul>\n" if failed else "",
    )
