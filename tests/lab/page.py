"""A notebook open in JupyterLab: what a reader clicks on, and what stands on the screen then."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from lab.server import TOKEN

LIMIT = 300_000  # milliseconds, of anything that hangs
LAPTOP = {"width": 1440, "height": 900}

# all have run, or one has failed and the others were called off
ENDED = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent);
    const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
    return prompts.every(text => /\\[\\d+\\]:/.test(text)) || (failed && !prompts.includes('[*]:'));
}"""
# where the last cell ends, and the status bar below it
END = """() => {
    const cells = document.querySelectorAll('.jp-WindowedPanel-outer .jp-Cell');
    const outer = document.querySelector('.jp-WindowedPanel-outer');
    const bottom = cells[cells.length - 1].getBoundingClientRect().bottom + outer.scrollTop;
    return Math.min(16000, Math.ceil(bottom) + 60);
}"""
# of each code cell: its number, its outputs' height, what is wider than its place, pictures' widths, stderr
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
        said: all.filter(e => e.matches('[data-mime-type$="stderr"], .jupyter-widgets-error'))
                .map(e => e.textContent),
    };
})"""


class Notebook:
    """The notebook `name` below ``notebooks/``, opened at the address `url` in a page of a laptop's size."""

    def __init__(self, page: Page, url: str, name: str):
        self.page, self.url = page, url
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
        """Return when every cell has run, or one has failed."""
        self.page.wait_for_function(ENDED, timeout=LIMIT)
        self.idle()

    def cell(self, text: str) -> Locator:
        """The code cell that contains `text`."""
        return self.page.locator(".jp-CodeCell", has_text=text)

    def errors(self) -> list[str]:
        """What cells that failed say."""
        return self.page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()

    def use_controls(self) -> int:
        """Move the first control of each cell that has some, and see its picture change; how many did."""
        controls = self.page.locator(".widget-toggle-buttons, .widget-slider")
        cells = self.page.locator(".jp-CodeCell", has=controls)
        for cell in cells.all():
            before = cell.locator("img").last.get_attribute("src")
            if (other := cell.locator(".widget-toggle-button:not(.mod-active)")).count():
                other.first.click()
            else:
                cell.locator(".noUi-handle").first.press("ArrowRight")
            expect(cell.locator("img").last).not_to_have_attribute("src", before, timeout=LIMIT)
        return cells.count()

    def photograph(self, file: Path) -> list[dict]:
        """Write a picture of the whole notebook, 1,440 wide; returns what MEASURED says of each code cell."""
        for _ in range(9):  # outputs that were off the screen get their size late
            self.page.set_viewport_size({**LAPTOP, "height": self.page.evaluate(END)})
        file.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=file)
        return self.page.evaluate(MEASURED)

    def close(self) -> None:
        """End the kernel."""
        told = {"Authorization": f"token {TOKEN}"}
        for kernel in self.page.request.get(f"{self.url}api/kernels", headers=told).json():
            self.page.request.delete(f"{self.url}api/kernels/{kernel['id']}", headers=told)
