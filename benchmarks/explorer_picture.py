"""README's first picture: the interactive page of the quickstart, with the mouse over a patch.

    python benchmarks/explorer_picture.py runs/quickstart/photographs.html docs/images/explorer.png [FRAGMENT]

Needs playwright and chromium. The page shows photographs that come inside packages.
"""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1240, "height": 860}


def main() -> None:
    """Open the page at the fragment of an address and take its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("fragment", nargs="?", default="")
    options = parser.parse_args()
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport=SIZE)
        tab.goto(f"{options.page.resolve().as_uri()}{options.fragment}")
        tab.wait_for_timeout(1000)
        tab.screenshot(path=options.picture)
        browser.close()


if __name__ == "__main__":
    main()
