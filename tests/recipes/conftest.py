import pytest
import torch

from crate_transformer.data import ArrayImages


@pytest.fixture
def tiny_images():
    """Random pictures of this side: ``tiny_images(32, count=12)``, of the classes a, b and c."""

    def make(side: int, *, count: int = 12, seed: int = 0) -> ArrayImages:
        generator = torch.Generator().manual_seed(seed)
        pictures = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
        return ArrayImages(pictures, torch.arange(count) % 3, ("a", "b", "c"))

    return make
