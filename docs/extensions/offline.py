"""The site must be readable without a network: a page that would fetch something from elsewhere ends the build."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

TAG = r'(script|img|iframe|source|link rel="(stylesheet|preload|icon)")'
FETCHED = re.compile(rf'<{TAG}[^>]* (src|href)="(https?:)?//[^>]*')


def check(app: Sphinx, error: Exception | None) -> None:
    """Look at every page that was written."""
    if error is not None or app.builder.format != "html":
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        if found := FETCHED.search(page.read_text(encoding="utf-8")):
            raise ExtensionError(f"{page.relative_to(app.outdir)} fetches {found[0]}")


def setup(app: Sphinx) -> dict[str, bool]:
    """Look when all is written."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
