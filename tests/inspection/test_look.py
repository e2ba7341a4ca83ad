"""One picture through a model: of any shape, with or without a classifier."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.inspection import classify, look, whole_picture
from crate_transformer.models import build_model


@pytest.fixture(scope="module")
def model():
    return build_model("crate_micro_patch4_32", depth=1, num_classes=3).eval()


def test_pictures_up_to_16_times_as_long_as_wide_are_seen_whole(model):
    pixels = np.zeros((4, 64, 3), dtype=np.uint8)
    pixels[:, 32:] = 255
    seen = look(model, Image.fromarray(pixels), "long", short_side=8)
    assert seen.attention.maps.shape[-2:] == (2, 32)
    assert seen.image.shape == (8, 128, 3) and seen.image[:, :50].max() == 0 and seen.image[:, -50:].min() == 255
    tall = look(model, Image.fromarray(pixels.swapaxes(0, 1).copy()), "tall", short_side=8)
    assert tall.attention.maps.shape[-2:] == (32, 2)
    with pytest.raises(ValueError, match=r"^wide is 16\.5 times as long as wide, more than 16: cut it into pieces$"):
        look(model, Image.new("RGB", (66, 4)), "wide", short_side=8)


@pytest.mark.parametrize("aspect", [0.0625, 0.19, 0.5, 1.0, 1.3, 2.77, 5.0, 16.0])
@pytest.mark.parametrize("patch_size", [4, 8, (4, 8)])
def test_any_shape_becomes_no_more_patches_than_fit_and_keeps_its_shape(patch_size, aspect):
    model = build_model("crate_micro_patch4_32", depth=1, patch_size=patch_size)
    width, height = round(480 * aspect**0.5), round(480 / aspect**0.5)
    whole = whole_picture(model, Image.new("RGB", (width, height)), 120, max_patches=900)
    rows, columns = model.grid_size(whole.height, whole.width)
    assert (whole.height, whole.width) == (rows * model.patch_size[0], columns * model.patch_size[1])
    assert rows * columns <= 900
    tolerance = max(1 / rows, 1 / columns)
    assert abs(whole.width / whole.height / (width / height) - 1) <= 1.1 * tolerance
    fits = 120**2 * max(aspect, 1 / aspect) / np.prod(model.patch_size) < 850
    assert abs(min(whole.size) - 120) <= max(model.patch_size) / 2 if fits else rows * columns > 750


def test_a_size_at_which_no_picture_fits_is_refused(model):
    with pytest.raises(ValueError, match=r"^a shorter side of 520 pixels gives at least 16,900 patches .* --size$"):
        look(model, Image.new("RGB", (10, 10)), "big", short_side=520)


def test_looking_changes_nothing_and_takes_every_precision(model):
    picture = Image.new("RGB", (32, 32), "red")
    expected = look(model, picture, "red", short_side=32).top
    for dtype in (torch.float64, torch.bfloat16):
        other = copy.deepcopy(model).to(dtype).train()
        other.norm.eval()
        before = [module.training for module in other.modules()]
        top = look(other, picture, "red", short_side=32).top
        assert [module.training for module in other.modules()] == before and any(before)
        assert dict(top) == pytest.approx(dict(expected), abs=0.02)
    broken = copy.deepcopy(model)
    torch.nn.init.constant_(broken.head.bias, float("nan"))
    with pytest.raises(ValueError, match="outputs of the model are not finite"):
        classify(broken, picture)


def test_dropout_is_off_while_a_model_in_training_classifies():
    dropping = build_model("crate_micro_patch4_32", depth=1, num_classes=3, drop_rate=0.9).train()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert (
        classify(dropping, picture) == classify(dropping, picture) == classify(copy.deepcopy(dropping).eval(), picture)
    )


def test_classes(model):
    picture = Image.new("RGB", (32, 32), "red")
    top = look(model, picture, "red", short_side=32).top
    assert {name for name, _ in top} == {"class 0", "class 1", "class 2"}
    assert sum(probability for _, probability in top) == pytest.approx(1)
    headless = build_model("crate_micro_patch4_32", depth=1, num_classes=0).eval()
    assert look(headless, picture, "red", short_side=32).top == ()
    with pytest.raises(ValueError, match="no classifier"):
        classify(headless, picture)
