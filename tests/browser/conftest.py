"""A real browser for pages of the kit: Debian's chromium, driven by Playwright.

Each test opens pages with `visit`. When the test ends, the pages must have logged no
error and asked no other host for anything.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

SERIOUS = ("serious", "critical")
# A busy machine is slow, not broken.
PATIENCE_MS = 120_000


@dataclass
class Visit:
    """A page in the browser, and what must not happen in it."""

    page: Page
    host: str = ""
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def listen(self):
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} ({self.page.url})")

    def _request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.foreign.append(request.url)

    def faults(self):
        """Serious faults that axe-core finds: the rule, and the first element."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html'][:200]}"
            for fault in found
            if fault["impact"] in SERIOUS
        ]

    def overflow(self):
        """Pixels by which the page is wider than the window."""
        root = "document.documentElement"
        return self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")

    def shoot(self, name):
        """Keep a picture of the whole page in the folder TRITON_KIT_SCREENSHOTS."""
        if folder := os.environ.get("TRITON_KIT_SCREENSHOTS"):
            path = Path(folder) / f"{name}.png"
            self.page.screenshot(path=path, full_page=True)


# Not of the session: Playwright's event loop would be running in every later test.
@pytest.fixture(scope="module")
def browser():
    """Start chromium; skip where it is missing, but not in CI."""
    program = shutil.which("chromium")
    if program is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program,
            # Root has no sandbox, and containers have a small /dev/shm.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            timeout=PATIENCE_MS,
        )
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Open a page: `visit(url, width=360, scheme="dark")`."""
    visits, contexts = [], []

    def start(url, *, width=1440, scheme="light", **settings):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **settings
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        opened = Visit(context.new_page(), urlsplit(url).netloc)
        opened.listen()
        visits.append(opened)
        opened.page.goto(url)
        return opened

    yield start
    for context in contexts:
        context.close()
    assert [error for one in visits for error in one.errors] == []
    assert [url for one in visits for url in one.foreign] == []
