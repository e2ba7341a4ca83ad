"""``crate segment``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from crate_transformer.cli.checkpoint import Checkpoint

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from crate_transformer.models import Backbone

_HEAD_SAMPLE = 32


@dataclass(frozen=True, kw_only=True)
class Command:
    """Mark the objects on pictures without any label: masks as PNG, the pictures with their masks, COCO results."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    weights: Checkpoint = field(default_factory=Checkpoint)
    output: Path = Path("runs/segment")
    """Where masks/, overlays/, coco_results.json and results.json go."""
    method: Literal["maskcut", "attention"] = "maskcut"
    """Cut objects out of the graph of patches, or mark what the class token looks at."""
    size: int | None = None
    """Shorter side of the pictures for the model, in pixels; unless given 480 for maskcut (at most 60 patches) and
    twice that of the training for attention."""
    layer: int | None = None
    """Zero-based, negative ones count from the last; the last unless given (attention: that stored with weights)."""
    head: int | None = None
    """Of the attention; unless given that stored with the weights, else the one that separates best."""
    mass: float = 0.6
    """Share of the attention that a mask holds."""
    num_masks: int = 3
    """Objects that maskcut looks for on each picture."""
    tau: float = 0.15
    """Cosine above which maskcut takes two patches for alike."""

    def __call__(self) -> None:
        import numpy as np

        from crate_transformer.data import encode_mask, read_images
        from crate_transformer.evaluation.average_precision import mask_box
        from crate_transformer.reports.segments import label_picture, masks_over
        from crate_transformer.storage import write_file, write_json

        self.check()
        model = self.weights.load()
        choices = self.choices(model)
        pictures, found, empty = [], [], []
        for index, (name, picture) in enumerate(read_images(self.images)):
            masks = self.masks(model, picture, name, choices)
            stem = f"{index:04d}-{Path(name).stem}"
            kept = [mask for mask in masks if mask.any()]
            for folder, image in (
                ("masks", label_picture(masks)),
                ("overlays", masks_over(np.asarray(picture), masks)),
            ):
                write_file(self.output / folder / f"{stem}.png", png(image))
            for rank, mask in enumerate(kept):
                box, score = mask_box(mask), 1 / (1 + rank)
                entry = {"category_id": 1, "segmentation": encode_mask(mask), "bbox": box, "score": score}
                found.append({"image_id": index, **entry})
            if not kept:
                empty.append(name)
            pictures.append({"image": name, "masks": f"masks/{stem}.png", "objects": len(kept), "image_id": index})
        stems = [Path(entry["image"]).stem for entry in pictures]
        if all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
            for entry in (*pictures, *found):
                entry["image_id"] = int(stems[entry["image_id"]])
        write_json(self.output / "coco_results.json", found)
        results = {"checkpoint": str(model.provenance).splitlines(), "choices": choices, "pictures": pictures}
        write_json(self.output / "results.json", {**results, "nothing_found": empty})
        print(f"{len(found)} objects on {len(pictures)} picture{'s' * (len(pictures) > 1)}: {self.output}")
        if empty:
            more = f" and {len(empty) - 5} others" if len(empty) > 5 else ""
            print(f"nothing found, the mask is empty: {', '.join(empty[:5])}{more}")

    def check(self) -> None:
        """Refuse numbers out of range before anything is loaded."""
        if not 0 < self.mass <= 1:
            raise ValueError(f"--mass is {self.mass}: a mask holds more than 0 and at most 1 of the attention")
        if not 1 <= self.num_masks <= 255:
            raise ValueError(f"--num-masks is {self.num_masks}: ask for 1 to 255 objects")
        if not 0 <= self.tau < 1:
            raise ValueError(f"--tau is {self.tau}: it must be a cosine from 0 to below 1, such as 0.15")

    def choices(self, model: "Backbone") -> dict[str, object]:
        """Everything that the masks depend on."""
        from crate_transformer.inspection.reader import reader

        native = min(model.preprocessing.img_size)
        size = self.size or (min(480, 60 * min(model.patch_size)) if self.method == "maskcut" else 2 * native)
        if size < min(model.patch_size):
            raise ValueError(f"--size is {size}: it must be at least one patch, {min(model.patch_size)} pixels")
        if self.method == "maskcut":
            layer = -1 if self.layer is None else self.layer
            return {"method": "maskcut", "size": size, "layer": layer, "num_masks": self.num_masks, "tau": self.tau}
        source, stored = reader(model), model.provenance.metadata.get("attention", {})
        if self.layer is None and self.head is None and "head" in stored:
            layer, head, why = stored["layer"], stored["head"], stored["chosen"]
        else:
            (layer,) = source.choose_layers([-1 if self.layer is None else self.layer])
            head, why = self.choose_head(model, layer)
        (head,) = source.choose_heads([head])
        chosen = {"layer": layer, "head": head, "head_chosen": why, "mass": self.mass}
        return {"method": "attention", "size": size, **chosen}

    def choose_head(self, model: "Backbone", layer: int) -> tuple[int, str]:
        """The head asked for, or the one whose maps fall most clearly into a bright and a dark part."""
        if self.head is not None:
            return self.head, "given"
        from itertools import islice

        import torch

        from crate_transformer.data import preprocess, read_images
        from crate_transformer.inspection import foreground

        sample = [
            preprocess(picture, model.preprocessing) for _, picture in islice(read_images(self.images), _HEAD_SAMPLE)
        ]
        seen = foreground(model, torch.stack(sample), layer=layer, fraction=self.mass)
        return seen.head, f"{seen.choice}, on the first {len(sample)} pictures"

    def masks(self, model: "Backbone", picture: "Image.Image", name: str, choices: dict[str, object]) -> "np.ndarray":
        """The objects of one picture, ``(objects, height, width)`` in its own pixels."""
        from crate_transformer.data import normalise, pixels
        from crate_transformer.inspection import foreground, maskcut, upsample
        from crate_transformer.inspection.look import whole_picture

        try:
            whole = whole_picture(model, picture, choices["size"])
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
        inputs = normalise(pixels(whole), model.preprocessing)[None]
        if self.method == "maskcut":
            found = maskcut(model, inputs, num_masks=self.num_masks, tau=self.tau, layer=choices["layer"]).masks[0]
        else:
            found = foreground(model, inputs, layer=choices["layer"], head=choices["head"], fraction=self.mass).masks
        return upsample(found, (picture.height, picture.width))


def png(image: "Image.Image") -> bytes:
    """The content of a PNG file."""
    import io

    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
