"""The interactive pages of the quickstart."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from crate_transformer.data import Digits, normalise, photograph
from crate_transformer.explorer import Reference, collect, explorer_page
from crate_transformer.explorer.explorer import package_reference
from crate_transformer.inspection import reference_means
from crate_transformer.models import Backbone
from crate_transformer.storage import write_file

PHOTOGRAPHS = ("cat", "coffee", "rocket", "astronaut", "motorcycle", "flower")
SIDE, SHOWN, REFERENCES = 128, 8, 200


def photographs_page(folder: Path, name: str, model: Backbone) -> Path:
    """The bundled model on photographs that are part of installed packages."""
    pictures = [(name, photograph(name)) for name in PHOTOGRAPHS]
    data = collect({name: model}, pictures, title=f"{name} on photographs", short_side=SIDE,
                   references={name: package_reference(model)})  # fmt: skip
    return write_file(folder / "photographs.html", explorer_page(data))


def digits_page(folder: Path, models: Mapping[str, Backbone], test: Digits, reference: Digits) -> Path:
    """Both trained models, side by side on the first test images."""
    pictures = [
        (f"{number}: {test.classes[label]}", Image.fromarray(image.permute(1, 2, 0).numpy()))
        for number, (image, label) in enumerate(zip(test.images[:SHOWN], test.labels[:SHOWN].tolist(), strict=True))
    ]
    known = reference.images[:REFERENCES]
    references = {
        name: Reference(
            name=f"{len(known)} other images of digits",
            means=reference_means(model, normalise(known, model.preprocessing)),
        )
        for name, model in models.items()
    }
    side = min(test.images.shape[-2:])
    data = collect(models, pictures, title="CRATE and ViT on digits", short_side=side, references=references)
    return write_file(folder / "digits.html", explorer_page(data))
