"""Uniform images."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor


def blank(images: Float[Tensor, "images channels height width"]) -> Bool[np.ndarray, " images"]:
    """Which images have a single colour, such as all black, so that nothing can be found in them."""
    return (images.amin(dim=(2, 3)) == images.amax(dim=(2, 3))).all(dim=1).cpu().numpy()
