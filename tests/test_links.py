"""Links between README, the book's pages, notebooks and results lead to a file, and to a heading of it."""

import nbformat
import pages
import pytest

from fashionlib.core.paths import PROJECT

NOT_IN_GIT = {"raw", "data", "runs", "cache", "build", ".venv"}


def broken(page) -> list[str]:
    """The links of `page` that lead nowhere, or to what the repository does not hold."""
    found = []
    for link in pages.links(page):
        target, anchor = pages.leads_to(page, link), link.partition("#")[2]
        inside = target.is_relative_to(PROJECT) and target.relative_to(PROJECT).parts[:1][0] not in NOT_IN_GIT
        if not (inside and target.is_file()) or (
            anchor and (target.suffix not in (".md", ".ipynb") or anchor not in pages.anchors(target))
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_and_pictures_lead_somewhere(page):
    """To files, not folders: the book has no page for a folder."""
    assert not broken(page)


def test_every_page_is_reached_from_readme():
    """Else nobody finds it on a code host, which shows no table of contents."""
    found, left = set(), [PROJECT / "README.md"]
    while left:
        page = left.pop()
        found.add(page)
        reached = {pages.leads_to(page, link) for link in pages.links(page)}
        left += [each for each in reached & {*pages.PAGES} if each not in found and each not in left]
    assert not [str(page) for page in pages.PAGES if page not in found]


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    monkeypatch.setattr(pages, "PROJECT", tmp_path)
    text = """# A `b_c` — d, *e*!\n\n# Twice\n\nOver
[two\nlines](gone.md), `[no](link)` and [there](other.md#twice-1), ![](gone.png)

```\n[no](link)\n```\n\n<img src="gone too.png"> <a id="own"></a> [own](#own) [up](../outside.md) [web](https://x.y/#z)

# Twice\n\n[a](#a-b_c--d-e) [b](#a-b_c-d-e) [folder](sub) [runs](runs/x.md)\n"""
    (tmp_path / "sub").mkdir()
    (tmp_path / "runs").mkdir()
    for name in ("page.md", "other.md", "runs/x.md"):
        (tmp_path / name).write_text(text)
    expected = ["gone.md", "gone.png", "gone too.png", "../outside.md", "#a-b_c-d-e", "sub", "runs/x.md"]
    assert broken(tmp_path / "page.md") == expected
    cells = [nbformat.v4.new_markdown_cell(part) for part in text.split("\n\n")]
    output = nbformat.v4.new_output("display_data", {"text/markdown": "[x](gone.csv)"})
    cells.append(nbformat.v4.new_code_cell("1", outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "page.ipynb")
    assert broken(tmp_path / "page.ipynb") == [*expected, "gone.csv"]
