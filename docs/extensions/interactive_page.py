"""The interactive page of the home page: the bundled model on two photographs that come inside packages."""

from pathlib import Path

from sphinx.application import Sphinx

PICTURES = ("cat", "rocket")


def write(app: Sphinx) -> None:
    """Make the page and put it beside the HTML pages."""
    if app.builder.format != "html":
        return
    from crate_transformer.checkpoints import create_model
    from crate_transformer.data import photograph
    from crate_transformer.explorer import collect, explorer_page
    from crate_transformer.explorer.explorer import package_reference

    name = "crate_mini_patch8_64.tiny_imagenet_100"
    model = create_model(name, pretrained=True)
    pictures = [(picture, photograph(picture)) for picture in PICTURES]
    references = {name: package_reference(model)}
    data = collect({name: model}, pictures, title="Inside a CRATE", short_side=128, references=references)
    Path(app.outdir, "interactive.html").write_bytes(explorer_page(data))


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the page before the others are written."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
