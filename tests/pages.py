"""Links, anchors and code of the repository's pages and notebooks, read as a code host reads them."""

import re
import shlex
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fashionlib.core.paths import PROJECT

_PLACES = """*.md fashionlib/assets/cutout.md notebooks/*.ipynb results/**/*.ipynb results/**/*.md
tests/*.md tools/*/*.md"""
PAGES = [path for place in _PLACES.split() for path in sorted(PROJECT.glob(place))]
BOOK = [PROJECT / "README.md", *sorted(PROJECT.glob("tools/book/*.md"))]  # their commands are run
CARD = PROJECT / "fashionlib/assets/cutout.md"
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def texts(page: Path) -> list[str]:
    """The Markdown of `page`; of a notebook, of each Markdown cell and each Markdown output."""
    if page.suffix != ".ipynb":
        return [page.read_text(encoding="utf-8")]
    found = []
    for cell in nbformat.read(page, as_version=4).cells:
        if cell.cell_type == "markdown":
            found.append(cell.source)
        outputs = [each.get("data", {}) for each in cell.get("outputs", ())]
        found += [data["text/markdown"] for data in outputs if "text/markdown" in data]
    return found


def _tokens(page: Path) -> list[Token]:
    """Blocks and what stands in them, in order; a heading's `content` is its text without markup."""
    found = []
    for block in (block for text in texts(page) for block in _MARKDOWN.parse(text)):
        if block.type == "inline" and found[-1].type == "heading_open":
            found[-1].content = "".join(part.content for part in block.children)
        found += [block, *(block.children or ())]
    return found


@cache
def anchors(page: Path) -> set[str]:
    """What may stand after ``#``: GitHub's names of the headings, and HTML's own.

    Lower case, spaces to hyphens, all other punctuation but ``_`` gone; the second of a name ends in ``-1``.
    """
    found: dict[str, int] = {}
    for token in _tokens(page):
        if token.type == "heading_open":
            name = re.sub(r"[^\w\- ]", "", token.content.strip().lower()).replace(" ", "-")
            found[name] = found.get(name, -1) + 1
        elif token.type.startswith("html"):
            found |= dict.fromkeys(re.findall(r'\b(?:id|name)="([^"]+)"', token.content), 0)
    return {f"{name}-{n}" if n else name for name, times in found.items() for n in range(times + 1)}


@cache
def links(page: Path) -> list[str]:
    """Targets of the links and pictures of `page` that lead into the repository."""
    found = []
    for token in _tokens(page):
        found += [value for key in ("href", "src") if (value := token.attrGet(key))]
        if token.type.startswith("html"):
            found += re.findall(r'\b(?:href|src)="([^"]+)"', token.content)
    return [unquote(each) for each in found if not re.match(r"[a-z][a-z0-9+.-]*:", each)]


def leads_to(page: Path, link: str) -> Path:
    """The file that `link` of `page` names."""
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of `page` in that language."""
    return [token.content for token in _tokens(page) if token.type == "fence" and token.info == language]


def spans(page: Path) -> list[str]:
    """The code spans of `page`."""
    return [" ".join(token.content.split()) for token in _tokens(page) if token.type == "code_inline"]


def bash_lines(pages: list[Path] = BOOK) -> list[str]:
    """The lines of the bash blocks of `pages`; continued ones, and those of what `-y` quotes, as one."""
    found = [block.replace("\\\n", " ") for page in pages for block in blocks(page, "bash")]
    found = [re.sub(r"-y '[^']*'", lambda quoted: quoted[0].replace("\n", " "), block) for block in found]
    return [line for block in found for line in block.splitlines()]


def commands(program: str, pages: list[Path] = BOOK) -> list[list[str]]:
    """The words after `program` of every command of it in `pages`, in bash blocks and in code spans."""
    lines = [*bash_lines(pages), *(span for page in pages for span in spans(page))]
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
    return [rest for _, *rest in words if rest]
