"""Reconstructions of held-out images by a masked autoencoder."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crate_transformer.configs.mae import MAEConfig
from crate_transformer.data import EvalView, Source, normalise, ordered_loader
from crate_transformer.inspection import frozen, to_model
from crate_transformer.layers.random_numbers import Stream, uniforms
from crate_transformer.models import CRATEMAE, Preprocessing

PICTURES = 8


def reconstructions(config: MAEConfig, model: CRATEMAE, held_out: Source) -> dict[str, bytes]:
    """A figure of some held-out images: original, masked, and reconstructed."""
    from crate_transformer.reports.reconstruction import reconstruction_figure  # only this objective draws figures
    from crate_transformer.reports.style import figure_bytes

    chosen = np.unique(np.linspace(0, len(held_out) - 1, PICTURES).astype(np.int64)).tolist()
    preprocessing = model.preprocessing
    size = preprocessing.img_size
    pictures = held_out.subset(chosen)
    (batch,) = ordered_loader(pictures, EvalView(preprocessing), size=size, batch_size=PICTURES)
    rows, columns = model.grid_size(*size)
    noise = uniforms(0, batch["positions"], rows * columns, Stream.MASK)
    with frozen(model):
        images = to_model(model, normalise(batch["images"], preprocessing))
        found = model.reconstruct(images, config.mask_ratio, noise.to(images.device))
        filled, mask = to_pixels(found.pictures(), preprocessing), found.mask.view(-1, rows, columns)
    names = [pictures.name(index) for index in batch["positions"].tolist()]
    given = batch["images"].permute(0, 2, 3, 1).numpy()
    return {"reconstructions.png": figure_bytes(reconstruction_figure(given, mask.cpu().numpy(), filled, names))}


def to_pixels(
    images: Float[Tensor, "batch 3 height width"], preprocessing: Preprocessing
) -> UInt8[np.ndarray, "batch height width 3"]:
    """The bytes of normalised images."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    shown = (images.float().cpu() * std + mean).clamp(0, 1) * 255
    return shown.round().byte().permute(0, 2, 3, 1).numpy()
