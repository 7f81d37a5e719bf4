"""A notebook open in JupyterLab: what a reader clicks on, and what stands on the screen then."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from soak import WATCHDOG

from lab.server import TOKEN

LIMIT = WATCHDOG * 1000  # milliseconds
TOLD = {"Authorization": f"token {TOKEN}"}
LAPTOP = {"width": 1440, "height": 900}

# the cells have run, or one has failed and the others were called off
ENDED = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent);
    return /\\[\\d+\\]:/.test(prompts[0]) && !prompts.includes('[*]:');
}"""
# where the last cell ends, and the status bar below it
END = """() => {
    const cells = document.querySelectorAll('.jp-WindowedPanel-outer .jp-Cell');
    const outer = document.querySelector('.jp-WindowedPanel-outer');
    const bottom = cells[cells.length - 1].getBoundingClientRect().bottom + outer.scrollTop;
    return Math.min(16000, Math.ceil(bottom) + 60);
}"""
# of each code cell: its number, its outputs' height, what is wider than its place, pictures' widths
MEASURED = """() => [...document.querySelectorAll('.jp-CodeCell')].map(cell => {
    const area = cell.querySelector('.jp-Cell-outputArea');
    const all = [...area.querySelectorAll('*')].filter(e => e.offsetParent !== null);
    const cut = e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
                     && getComputedStyle(e).overflowX !== 'visible';
    return {
        cell: cell.querySelector('.jp-InputPrompt').textContent,
        height: Math.round(area.getBoundingClientRect().height),
        cut: all.filter(cut).map(e => e.className || e.tagName),
        widths: all.filter(e => e.tagName === 'IMG').map(e => e.width),
    };
})"""


class Notebook:
    """The notebook `name` below ``notebooks/``, opened at the address `url` in a page of a laptop's size."""

    def __init__(self, page: Page, url: str, name: str):
        self.page, self.url, self.name = page, url, name
        page.set_viewport_size(LAPTOP)
        page.goto(f"{url}lab/tree/notebooks/{name}?reset&token={TOKEN}")
        self.idle()

    def idle(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        expect(self.page.locator(".jp-KernelName")).to_have_text("Python 3 (ipykernel)", timeout=LIMIT)
        at_rest = self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        expect(at_rest).to_be_visible(timeout=LIMIT)

    def click(self, command: str) -> None:
        """The toolbar's button for JupyterLab's `command`."""
        self.page.locator(f'.jp-NotebookPanel-toolbar [data-command="notebook:{command}"]').first.click()

    def run_all(self) -> None:
        """Restart & Run All, confirmed; returns while the cells run."""
        self.click("restart-run-all")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def wait(self) -> None:
        """Return when the cells have run, or one has failed."""
        self.page.wait_for_function(ENDED, timeout=LIMIT)
        self.idle()

    def cell(self, text: str) -> Locator:
        """The code cell that contains `text`."""
        return self.page.locator(".jp-CodeCell", has_text=text)

    def problems(self) -> list[str]:
        """Of the notebook as JupyterLab saves it: errors, warnings, and cells that did not run."""
        self.page.locator('.jp-NotebookPanel-toolbar [data-command="docmanager:save"]').first.click()
        expect(self.page.locator(".jp-mod-dirty")).to_have_count(0, timeout=LIMIT)
        saved = self.page.request.get(f"{self.url}api/contents/notebooks/{self.name}", headers=TOLD)
        cells = [cell for cell in saved.json()["content"]["cells"] if cell["cell_type"] == "code"]
        found = [f"did not run: {cell['source']}" for cell in cells if cell["execution_count"] is None]
        for output in (output for cell in cells for output in cell["outputs"]):
            if output["output_type"] == "error":
                found.append("\n".join(output["traceback"]))
            elif output.get("name") == "stderr" and "Warning" in output["text"]:
                found.append(output["text"])
        return found

    def use_controls(self, count: int) -> None:
        """In at least `count` cells that have controls press a button or move the last slider.

        The picture below them has to change.
        """
        controls = self.page.locator(".widget-toggle-buttons, .widget-slider")
        cells = self.page.locator(".jp-CodeCell", has=controls)
        if count:
            expect(cells.nth(count - 1)).to_be_visible(timeout=LIMIT)
        for cell in cells.all():
            before = cell.locator("img").last.get_attribute("src")
            if (other := cell.locator(".widget-toggle-button:not(.mod-active)")).count():
                other.first.click()
            else:
                cell.locator(".noUi-handle").last.press("ArrowRight")
            expect(cell.locator("img").last).not_to_have_attribute("src", before, timeout=LIMIT)

    def photograph(self, file: Path) -> list[dict]:
        """Write a picture of the whole notebook, 1,440 wide; returns what MEASURED says of each code cell."""
        for _ in range(9):  # outputs that were off the screen get their size late
            self.page.set_viewport_size({**LAPTOP, "height": self.page.evaluate(END)})
        file.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=file)
        return self.page.evaluate(MEASURED)

    def close(self) -> None:
        """End the kernel."""
        for kernel in self.page.request.get(f"{self.url}api/kernels", headers=TOLD).json():
            self.page.request.delete(f"{self.url}api/kernels/{kernel['id']}", headers=TOLD)
