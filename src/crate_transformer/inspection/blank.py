"""Images in which there is nothing to see."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor


def blank(images: Float[Tensor, "images channels height width"]) -> Bool[np.ndarray, " images"]:
    """Which images are of one colour, such as all black: whatever is found in them, the model made it up."""
    return (images.amin(dim=(2, 3)) == images.amax(dim=(2, 3))).all(dim=1).cpu().numpy()
