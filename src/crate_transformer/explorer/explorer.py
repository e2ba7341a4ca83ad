"""Models that are looked into, and what is asked of them."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image

from crate_transformer.data import PHOTOGRAPHS, photograph, preprocess
from crate_transformer.explorer.collect import collect
from crate_transformer.explorer.encoding import Bits
from crate_transformer.explorer.page import explorer_page
from crate_transformer.explorer.tokens import expected_bytes
from crate_transformer.explorer.views import CLASSES, Reference
from crate_transformer.inspection import class_names, probabilities_without, reference_means
from crate_transformer.models import Backbone
from crate_transformer.storage import printable

LARGEST_PAGE = 256 << 20
REFERENCE = f"{len(PHOTOGRAPHS)} photographs"


def package_reference(model: Backbone) -> Reference:
    """The photographs that come inside packages, seen by the model."""
    images = torch.stack([preprocess(photograph(name), model.preprocessing) for name in PHOTOGRAPHS])
    return Reference(name=REFERENCE, means=reference_means(model, images))


class Explorer:
    """Makes pages of pictures and answers what they ask; one thing at a time.

    Args:
        models: by the names that pages show.
        short_side: pixels of the shorter side of a picture; that of each model's inputs unless given.
    """

    def __init__(self, models: Mapping[str, Backbone], *, short_side: int | None = None, bits: Bits = 8) -> None:
        self.models, self.short_side = dict(models), short_side
        self.bits: Bits = bits
        self.references = {name: package_reference(model) for name, model in self.models.items()}
        self._lock = threading.Lock()

    def page(
        self,
        pictures: Sequence[tuple[str, Image.Image]],
        chosen: Sequence[str],
        server: Mapping[str, str] | None = None,
    ) -> bytes:
        """The page of these pictures through one or two of the models.

        Raises:
            ValueError: there is no such model, the page would have more than ``LARGEST_PAGE`` bytes, or as ``collect``.
        """
        models = {name: self.model(name) for name in chosen}
        side = self.short_side or max(min(model.preprocessing.img_size) for model in models.values())
        images = [picture for _, picture in pictures]
        expected = sum(expected_bytes(model, images, side, self.bits) for model in models.values())
        if expected > LARGEST_PAGE:
            raise ValueError(
                f"the page would have {expected >> 20:,} MB, more than {LARGEST_PAGE >> 20}: choose fewer pictures, "
                "or start crate explore with a smaller --size"
            )
        with self._lock:
            data = collect(models, pictures, title=" and ".join(models), short_side=side, bits=self.bits)
        for described in data["models"]:
            described["reference"] = REFERENCE
        return explorer_page({**data, "server": server})

    def model(self, name: str) -> Backbone:
        """The model of this name."""
        if name not in self.models:
            raise ValueError(f"there is no model {name!r}: choose among {', '.join(self.models)}")
        return self.models[name]

    def effects(
        self, name: str, picture: Image.Image, heads: Sequence[tuple[int, int]], atoms: Mapping[int, Sequence[int]]
    ) -> dict[str, object]:
        """Probabilities of the likeliest classes of the whole model, with these heads and atoms at zero, and at their
        mean over the reference.

        Raises:
            ValueError: as ``probabilities_without``.
        """
        model, means = self.model(name), self.references[name].means
        images = preprocess(picture, model.preprocessing)[None]
        with self._lock:
            intact = probabilities_without(model, images)[0]
            zero, mean = (
                probabilities_without(model, images, heads=heads, atoms=atoms, means=instead)[0]
                for instead in (None, means)
            )
        best, names = np.argsort(-intact, kind="stable")[:CLASSES], class_names(model)
        return {
            "classes": [printable(names[index]) for index in best.tolist()],
            "intact": intact[best],
            "zero": zero[best],
            "mean": mean[best],
        }
