"""Tutorials and how-tos run as they are written; no page of the site is left out, none talks about what nobody has."""

import re

import pytest
from documented import DOCS, run_page

PAGES = sorted(str(file.relative_to(DOCS)) for part in ("tutorials", "how-to") for file in (DOCS / part).glob("*.md"))
TEXT_ALONE = {"how-to/many-gpus.md"}
OTHERS = {
    "tutorials/from-timm-and-dino.md": "timm",
    "how-to/lora.md": "peft",
    "how-to/attribution.md": "captum",
}
"""Pages that also show another package; timm's part runs in tests/integrations."""
pytestmark = pytest.mark.usefixtures("inputs", "unchecked", "undrawn", "small_defaults", "two_untrained")


@pytest.mark.parametrize("page", [page for page in PAGES if page not in TEXT_ALONE and OTHERS.get(page) != "peft"])
def test_a_page_runs(page, capfd):
    assert run_page(page, capfd, without=OTHERS.get(page))


@pytest.mark.parametrize("page", [page for page, package in OTHERS.items() if package != "timm"])
@pytest.mark.filterwarnings("default")  # of packages that are not ours
def test_a_page_for_another_package_runs(page, capfd):
    pytest.importorskip(OTHERS[page], reason="make test-peers installs it")
    run_page(page, capfd)


def test_every_page_is_in_the_navigation():
    named = set()
    for file in [DOCS / "index.md", DOCS / "reference" / "index.md"]:
        for block in re.findall(r"(?ms)^```\{toctree\}\n(.*?)^```$", file.read_text(encoding="utf-8")):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            named |= {(file.parent / f"{name}.md").resolve() for name in names}
    assert named == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}


def test_pages_are_about_what_a_reader_has():
    root = DOCS.parent
    for file in (*DOCS.rglob("*.md"), *root.glob("*.md")):
        assert not re.search(r"\.\./shared|\basked:|/work/", file.read_text(encoding="utf-8")), file
