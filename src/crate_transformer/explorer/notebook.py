"""The page from Python, shown under a notebook's cell and saved as a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from crate_transformer.data import read_images
from crate_transformer.explorer.collect import collect, has_few_heads, num_steps, picture_names
from crate_transformer.explorer.encoding import Bits
from crate_transformer.explorer.explorer import package_reference
from crate_transformer.explorer.page import explorer_page
from crate_transformer.models import Backbone
from crate_transformer.progress import ProgressLine
from crate_transformer.storage import write_file

Picture = str | Path | Image.Image | UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False)
class Exploration:
    """A page; Jupyter shows it under the cell, in a frame that can reach neither the notebook nor the network."""

    page: bytes
    height: int = 900

    def save(self, path: str | Path) -> Path:
        """Write the page as one HTML file that needs nothing else."""
        return write_file(path, self.page)

    def _repr_html_(self) -> str:
        content = escape(self.page.decode(), quote=True)
        return (
            f'<iframe srcdoc="{content}" sandbox="allow-scripts allow-downloads" width="100%" height="{self.height}" '
            'frameborder="0" title="inside the model"></iframe>'
        )


def explore(
    model: Backbone | Mapping[str, Backbone],
    images: Float[Tensor, "images 3 height width"] | Picture | Iterable[Picture],
    *,
    size: int | None = None,
    bits: Bits = 8,
    effects: bool | None = None,
    show: bool = False,
) -> Exploration:
    """What every head, layer and atom of a model does with some pictures, as an interactive page.

    Args:
        model: one model, or two by name, to be compared.
        images: pictures, paths of pictures or folders, or a batch as the model takes it.
        size: pixels of the shorter side; that of the model's inputs unless given. A batch is used as it is.
        bits: of a number in the page.
        effects: whether to switch every head off once, which takes two forward passes for each; where there are at most
            64 unless given.
        show: whether to show progress.

    Raises:
        ValueError: there are no pictures, a picture is unreadable, two models normalise differently but are given one
            batch, or as ``collect``.
    """
    models = dict(model) if isinstance(model, Mapping) else {type(model).__name__: model}
    if isinstance(images, Tensor):
        batch, pictures = images, _unnormalised(models, images)
    else:
        one = isinstance(images, str | Path | Image.Image | np.ndarray)
        batch, pictures = None, _pictures([images] if one else list(images))
    side = size or max(min(each.preprocessing.img_size) for each in models.values())
    references = {
        name: package_reference(each)
        for name, each in models.items()
        if (has_few_heads(each) if effects is None else effects)
    }
    with ProgressLine("looking inside", num_steps(models, len(pictures)), show=show) as line:
        data = collect(models, pictures, title=" and ".join(models), short_side=side, batch=batch, bits=bits,
                       references=references, progress=line.update)  # fmt: skip
    return Exploration(explorer_page(data))


def _pictures(given: Sequence[Picture]) -> list[tuple[str, Image.Image]]:
    found: list[tuple[str | Path, Image.Image]] = []
    for number, picture in enumerate(given):
        if isinstance(picture, str | Path):
            found += [(Path(path), image) for path, image in read_images([picture])]
        elif isinstance(picture, Image.Image):
            found.append((f"picture {number}", picture))
        elif isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,):
            found.append((f"picture {number}", Image.fromarray(picture)))
        else:
            what = f"an array of {picture.dtype}" if isinstance(picture, np.ndarray) else f"a {type(picture).__name__}"
            raise ValueError(
                f"picture {number} is {what}: give paths, PIL images, uint8 arrays of (height, width, 3), or one tensor"
            )
    paths = [name for name, _ in found if isinstance(name, Path)]
    names = dict(zip(paths, picture_names(paths), strict=True))
    return [(names[name] if isinstance(name, Path) else name, picture.convert("RGB")) for name, picture in found]


def _unnormalised(models: Mapping[str, Backbone], images: Tensor) -> list[tuple[str, Image.Image]]:
    statistics = {(model.preprocessing.mean, model.preprocessing.std) for model in models.values()}
    if len(statistics) > 1:
        raise ValueError("the models normalise their images differently: give pictures instead of a batch")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in statistics.pop())
    shown = ((images.detach().float().cpu() * std + mean).clamp(0, 1) * 255).round().byte()
    return [(f"picture {n}", Image.fromarray(each.permute(1, 2, 0).numpy())) for n, each in enumerate(shown)]
