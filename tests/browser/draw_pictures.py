"""Draw the pictures of docs/report.md: reports of real results, in a real browser.

python tests/browser/draw_pictures.py
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from triton_kit.report.write import write_report

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
# Name -> results, width, height, colour scheme.
SHOTS = {
    "report-sweep": (["sweep"], 1200, 980, "light"),
    "report-tune": (["tune"], 1200, 760, "dark"),
    "report-phone": (["one"], 390, 840, "dark"),
}


def main():
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        for name, (results, width, height, scheme) in SHOTS.items():
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            path = write_report(
                [RESULTS / f"{result}.json" for result in results],
                Path(folder) / f"{name}.html",
            )
            page.goto(path.as_uri())
            page.wait_for_function(
                "[...document.querySelectorAll('.chart')].slice(0, 2)"
                ".every((chart) => chart.dataset.drawn)"
            )
            page.screenshot(path=PICTURES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
