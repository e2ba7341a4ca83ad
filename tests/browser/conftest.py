"""A real browser for the tests of pages: Debian's chromium, driven by Playwright."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """For one module: while Playwright runs, no other test of the process can have an event loop."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser, tmp_path: Path) -> Iterator[Callable]:
    """Opens an explorer page of the given data from a file; afterwards nothing was fetched and nothing complained."""
    from crate_transformer.explorer.page import explorer_page

    contexts, complaints = [], []

    def listen(page) -> None:
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: heard(request.url))

    def heard(address: str) -> None:
        if not address.startswith(("file:", "data:", "blob:")):
            complaints.append(f"request: {address}")

    def open_page(data: dict, address: str = "", **options):
        options = {"viewport": {"width": 1280, "height": 900}, "offline": True} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        listen(page)
        file = tmp_path / f"{len(contexts)}.html"
        file.write_bytes(explorer_page(data))
        page.goto(file.as_uri() + address)
        page.wait_for_function("window.explorer !== undefined")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
