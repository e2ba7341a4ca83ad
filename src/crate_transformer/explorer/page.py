"""The interactive page as one HTML file: template, style, script and data put together."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crate_transformer.explorer.collect import FORMAT
from crate_transformer.storage import printable

if TYPE_CHECKING:
    from crate_transformer.reports.page import Illustration, Section

_FOLDER = resources.files("crate_transformer.explorer") / "page"


def explorer_page(data: dict, *, sections: Sequence["Section"] = (), lead: str = "") -> bytes:
    """One self-contained HTML file: nothing is fetched, and its security policy allows only its own script and style.

    Args:
        data: what the page shows, in the format that docs/explorer.md describes; with ``server`` the page may ask the
            server it comes from.
        sections: figures and texts under the interactive part.
        lead: a paragraph above these.

    Raises:
        ValueError: the data have another format, or hold a number that JSON does not know.
    """
    if data.get("format") != FORMAT:
        raise ValueError(f"the page reads data of format {FORMAT}, not {data.get('format')!r}")
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    if data.get("server"):
        policy["connect-src"] = "'self'"
    environment = Environment(
        loader=PackageLoader("crate_transformer.explorer", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = _picture
    page = environment.get_template("page.html.j2").render(
        title=printable(data["title"]),
        policy=Markup("; ".join(f"{name} {value}" for name, value in policy.items())),
        style=Markup(style),
        script=Markup(script),
        data=Markup(_inside_script(data)),
        sections=sections,
        lead=printable(lead, lines=True),
    )
    return page.encode()


def _picture(illustration: "Illustration") -> object:
    from crate_transformer.reports.page import embedded  # needs matplotlib, which a page without figures does without

    return embedded(illustration)


def _hash(content: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _inside_script(data: dict) -> str:
    """JSON in which no HTML can begin or end, whatever names of files and classes hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
