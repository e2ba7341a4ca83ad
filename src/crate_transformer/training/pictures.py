"""From the bytes of a batch to a model's input."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from crate_transformer.models.preprocessing import Preprocessing


class Normalise(nn.Module):
    """Bytes to ``(x / 255 - mean) / std`` per channel, on the device where the bytes are."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: UInt8[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
        return images.float().div_(255).sub_(self.mean).div_(self.std)
