import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.configs import AugmentConfig, MultiCropConfig
from crate_transformer.data import photograph, pixels, read_image, resize_crop
from crate_transformer.data.augment import Crop, EvalView, MultiCropView, TrainView
from crate_transformer.models import Preprocessing

PLAIN = {"flip": False, "min_area": 1.0}
PREPROCESSING = Preprocessing()


class OnePicture:
    """A source of one encoded picture that notes how it was read."""

    def __init__(self, picture, kind="PNG", **options):
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        self.content, self.sizes = stream.getvalue(), []

    def read(self, index, at_least=None):
        picture = read_image(self.content, at_least=at_least)
        self.sizes.append(picture.size)
        return picture


@pytest.fixture(scope="module")
def cat():
    return photograph("cat")


def view(source, size=(64, 64), seed=0, preprocessing=PREPROCESSING, **config):
    return TrainView(AugmentConfig(**config), preprocessing)(source, 0, np.random.default_rng(seed), size)["images"]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_without_random_changes_a_picture_is_seen_as_in_evaluation(cat, interpolation):
    preprocessing = Preprocessing(crop_pct=0.8, interpolation=interpolation)
    expected = pixels(resize_crop(cat, (48, 64), crop_pct=0.8, interpolation=interpolation))
    source = OnePicture(cat)
    assert torch.equal(view(source, (48, 64), preprocessing=preprocessing, **PLAIN), expected)
    assert torch.equal(EvalView(preprocessing)(source, 0, None, (48, 64))["images"], expected)
    flips = [view(source, (48, 64), seed, preprocessing, min_area=1.0) for seed in range(20)]
    assert {torch.equal(flip, expected) for flip in flips} == {True, False}
    assert all(torch.equal(flip, expected) or torch.equal(flip.flip(-1), expected) for flip in flips)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(64, 64), (300, 224), (7, 5)])
def test_crops_are_resized_as_pillow_does_it(cat, interpolation, size):
    preprocessing = Preprocessing(interpolation=interpolation)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    for seed in range(5):
        crop = Crop.draw(AugmentConfig(min_area=0.1), np.random.default_rng(seed), size)
        alone = cat.crop(crop.box(*cat.size))  # without the pixels around it
        expected = pixels(alone.resize(size[::-1], method)).int()
        assert (crop.cut(cat, preprocessing).int() - expected).abs().max() <= 2  # both round after each of two passes


@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (333, 333), (3000, 20), (1, 1), (2, 900)])
@pytest.mark.parametrize("size", [(32, 32), (32, 64)])
def test_crops_lie_inside_with_the_right_area_and_shape(shape, size):
    config, random = AugmentConfig(min_area=0.1, max_area=0.5), np.random.default_rng(0)
    boxes = np.array([Crop.draw(config, random, size).box(*shape) for _ in range(2000)])
    assert boxes.min() >= 0 and (boxes[:, 2:] <= shape).all()
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= 1
    if min(shape) < 100:
        return
    half = 0.5 / sides  # what rounding may do
    ratio = sides[:, 0] / sides[:, 1] * size[0] / size[1]
    slack = 1 + 3 * half.max()
    assert 0.75 / slack < ratio.min() < 0.78 and 1.28 < ratio.max() < 4 / 3 * slack
    area = sides.prod(axis=1) / math.prod(shape)
    assert area.max() < 0.5 * slack and area.mean() > 0.25
    if size == (32, 32):
        assert area.min() > 0.1 / slack and area.mean() == pytest.approx(0.3, abs=5 * 0.4 / math.sqrt(12 * 2000))
    for axis in (0, 1):
        room = shape[axis] - sides[:, axis]
        start = boxes[room > 20, axis] / room[room > 20]
        assert abs(start.mean() - 0.5) < 5 / math.sqrt(12 * len(start))


def test_a_large_photograph_is_decoded_reduced_and_looks_the_same(cat):
    large = cat.resize((1600, 1600 * cat.height // cat.width), Image.Resampling.BICUBIC)
    photo, exact = OnePicture(large, "JPEG", quality=95), OnePicture(large)
    for seed in range(8):
        size = (224, 224)
        crop = Crop.draw(AugmentConfig(), np.random.default_rng(seed), size)
        seen, expected = (view(source, size, seed, flip=False) for source in (photo, exact))
        error = (seen.float() - expected.float()).square().mean()
        assert 10 * math.log10(255**2 / error) > 35, "decibels: bicubic and bilinear crops differ by 37 to 46"
        left, top, right, bottom = crop.box(*photo.sizes[-1])
        assert min(right - left, bottom - top) >= 224
    assert min(photo.sizes) < (1600, 0), "nothing was reduced"


def test_the_generator_alone_decides(cat):
    source = OnePicture(cat)
    everything = {
        "randaugment": 2, "colour_jitter": 0.4, "grayscale": 0.2, "blur": 0.5, "solarise": 0.2, "erase": 0.5
    }  # fmt: skip
    first, again, other = (view(source, seed=seed, **everything) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.dtype == torch.uint8 and first.shape == (3, 64, 64) and first.is_contiguous()


def test_many_crops_of_one_decoding(cat):
    source = OnePicture(cat.resize((2000, 1500)), "JPEG")
    config = MultiCropConfig(local_crops=3, local_size=32)
    found = MultiCropView(config, PREPROCESSING)(source, 0, np.random.default_rng(0), (64, 48))
    assert {name: tuple(crops.shape) for name, crops in found.items()} == {
        "global_crops": (2, 3, 64, 48),
        "local_crops": (3, 3, 32, 32),
    }
    assert len(source.sizes) == 1 and source.sizes[0] < (2000, 1500)
    assert len(found["local_crops"].flatten(1).unique(dim=0)) == 3
    none = MultiCropView(MultiCropConfig(local_crops=0, local_size=32), PREPROCESSING)
    assert none(source, 0, np.random.default_rng(0), (64, 48))["local_crops"].shape == (0, 3, 32, 32)


def test_the_decoding_suffices_for_the_smallest_crop(cat):
    source = OnePicture(cat.resize((2000, 1500)), "JPEG")
    tiny = AugmentConfig(min_area=0.01, max_area=0.01)
    MultiCropView(MultiCropConfig(local=tiny), PREPROCESSING)(source, 0, np.random.default_rng(0), (32, 32))
    assert source.sizes == [(2000, 1500)]


def test_each_kind_of_crop_has_its_own_changes():
    grey = OnePicture(Image.new("RGB", (64, 64), (200, 10, 60)))
    still = AugmentConfig(flip=False)
    config = MultiCropConfig(
        first=still, second=AugmentConfig(solarise=1.0), local=AugmentConfig(grayscale=1.0), local_size=16
    )
    found = MultiCropView(config, PREPROCESSING)(grey, 0, np.random.default_rng(0), (32, 32))
    first, second = (crop.flatten(1).unique(dim=1).squeeze(1).tolist() for crop in found["global_crops"])
    assert first == [200, 10, 60] and second == [55, 10, 60]
    assert found["local_crops"].flatten(2).unique().numel() == 1
