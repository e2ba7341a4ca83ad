"""One picture through a model: of any shape, with or without a classifier."""

import numpy as np
import pytest
from PIL import Image

from crate_transformer.inspection import look
from crate_transformer.models import build_model


@pytest.fixture(scope="module")
def model():
    return build_model("crate_micro_patch4_32", depth=1, num_classes=3).eval()


def test_long_pictures_lose_their_ends(model):
    pixels = np.zeros((4, 600, 3), dtype=np.uint8)
    pixels[:, 268:332] = 255
    seen = look(model, Image.fromarray(pixels), "long", short_side=8)
    assert seen.attention.maps.shape[-2:] == (2, 32)
    assert seen.image.shape == (8, 128, 3) and seen.image.min() == 255
    tall = look(model, Image.fromarray(pixels.swapaxes(0, 1).copy()), "tall", short_side=8)
    assert tall.attention.maps.shape[-2:] == (32, 2)


def test_too_many_patches_are_refused(model):
    with pytest.raises(ValueError, match=r"^big has 16,900 patches at a shorter side of 520 pixels, .* --size$"):
        look(model, Image.new("RGB", (10, 10)), "big", short_side=520)


def test_classes(model):
    picture = Image.new("RGB", (32, 32), "red")
    top = look(model, picture, "red", short_side=32).top
    assert {name for name, _ in top} == {"class 0", "class 1", "class 2"}
    assert sum(probability for _, probability in top) == pytest.approx(1)
    headless = build_model("crate_micro_patch4_32", depth=1, num_classes=0).eval()
    assert look(headless, picture, "red", short_side=32).top == ()
