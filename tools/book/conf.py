"""The HTML book (``make book``): Sphinx reads the repository's own pages and notebooks where they lie.

Nothing is executed, and nothing fetched: neither here nor by a reader's browser, for formulas become MathML.
"""

import re
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[2]
RENDERED = "results/sample/notebooks"  # with outputs, as `fashionlib publish sample` copies them
NOTEBOOKS = RENDERED if (ROOT / RENDERED).is_dir() else "notebooks"
CONTENTS = {  # the table of contents behind README; a page stands where it is named first
    "The notebooks": [f"{NOTEBOOKS}/*"],
    "How to": [f"tools/book/{name}" for name in ("setup", "notebooks", "training", "data", "cutouts")],
    "Results": [
        *("tools/book/results", "results/REPRODUCTION", "results/*/table1", "results/*/costs"),
        *("results/*/studies/*", "results/*/labels/*", "results/cutouts/*", "results/LOG", "results/recipe"),
        *("tools/book/speed", "results/*"),
    ],
    "Reference": ["tools/book/reference"],
    "About": ["fashionlib/assets/cutout", "THIRD_PARTY", "CHANGELOG", "tests/*", "tools/*/README"],
}

project = "fashionlib"
author = copyright = "The fashionlib maintainers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["README.md", *(f"{page}.*" for pages in CONTENTS.values() for page in pages)]
exclude_patterns = [  # Sphinx would walk through all other folders
    each.name
    for each in ROOT.iterdir()
    if each.is_dir() and each.name not in {page.split("/")[0] for page in include_patterns}
]
html_theme = "furo"
html_title = "fashionlib"
html_static_path = html_css_files = ["book.css"]
html_copy_source = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # GitHub's names of headings
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # with tables
html_math_renderer = "mathml"
highlight_language = "none"
default_role = "literal"  # what docstrings mean by single backticks
napoleon_use_ivar = True  # "Attributes:" stands once
add_module_names = toc_object_entries = False


def setup(app):
    """Called by Sphinx: the table of contents, docstrings, and formulas as MathML."""
    app.connect("source-read", _complete)
    app.connect("autodoc-process-docstring", _as_written)
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))


def _complete(app, page: str, source: list[str]) -> None:
    """Lead to the notebooks of this book; add README's table of contents, and the docstrings."""
    source[0] = re.sub(r"\]\(((\.\./)*)notebooks/", rf"](\1{NOTEBOOKS}/", source[0])
    for title, pages in CONTENTS.items() if page == root_doc else ():
        listed = "\n".join(f"/{page}" for page in pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {title}\n\n{listed}\n```\n"
    for file in sorted((ROOT / "fashionlib").rglob("*.py")) if page.endswith("/reference") else ():
        name, of, dunder = ".".join(file.relative_to(ROOT).with_suffix("").parts).partition(".__")
        if dunder != "main__":  # a package's docstring is a map; its members stand in their own modules
            title, members = name.removeprefix("fashionlib."), "" if of else "   :members:\n"
            source[0] += f"\n## {title}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{members}```\n"


def _as_written(app, what: str, name: str, of, options, lines: list[str]) -> None:
    """Keep a docstring as it is if it has columns."""
    if any("   " in line.strip() for line in lines):
        lines[:] = [lines[0], "", "::", "", *(f"    {line}" for line in lines[1:])]


def _inline(writer, node) -> None:
    writer.body.append(convert(node.astext()))
    raise SkipNode


def _display(writer, node) -> None:
    writer.body.append(convert(node.astext(), display="block"))
    raise SkipNode
