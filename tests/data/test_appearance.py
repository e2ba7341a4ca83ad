import colorsys
import math

import numpy as np
import pytest
from PIL import Image

from crate_transformer.configs import AugmentConfig
from crate_transformer.data import photograph
from crate_transformer.data.appearance import change_colours, erase
from crate_transformer.data.rand_augment import OPERATIONS, rand_augment
from crate_transformer.models import Preprocessing

FILL = (124, 116, 104)


@pytest.fixture(scope="module")
def cat():
    return photograph("cat").resize((80, 60))


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_does_something_and_keeps_the_shape(cat, name):
    for strength in (-1.0, -0.5, 0.5, 1.0):
        changed = OPERATIONS[name](cat, strength, FILL)
        assert changed.size == cat.size and changed.mode == "RGB"
        assert (np.asarray(changed) != np.asarray(cat)).any() == (name != "identity"), strength


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"autocontrast", "equalize"}))
def test_no_strength_changes_nothing(cat, name):
    assert np.array_equal(OPERATIONS[name](cat, 0.0, FILL), cat)


def test_operations_do_what_they_say(cat):
    pixels = np.asarray(cat)
    moved = np.asarray(OPERATIONS["translate_x"](cat, 1.0, FILL))
    assert np.array_equal(moved[:, :44], pixels[:, 36:]) and (moved[:, 44:] == FILL).all()
    moved = np.asarray(OPERATIONS["translate_y"](cat, -1.0, FILL))
    assert np.array_equal(moved[27:], pixels[:33]) and (moved[:27] == FILL).all()
    assert len(np.unique(OPERATIONS["posterize"](cat, -1.0, FILL))) <= 16
    assert np.array_equal(OPERATIONS["solarize"](cat, 1.0, FILL), 255 - pixels)
    assert np.asarray(OPERATIONS["brightness"](cat, -1.0, FILL)).max() <= math.ceil(25.5)
    grey = np.asarray(OPERATIONS["color"](cat, -1.0, FILL)).astype(int)
    assert np.ptp(grey, axis=2).max() <= np.ptp(pixels.astype(int), axis=2).max() * 0.1 + 2
    for name in ("shear_x", "shear_y", "rotate"):  # about the centre
        middle = np.asarray(OPERATIONS[name](cat, 1.0, FILL))[29:31, 39:41]
        assert np.abs(middle.astype(int) - pixels[29:31, 39:41]).max() < 40


def test_the_number_of_operations_and_both_directions(cat):
    assert rand_augment(cat, 0, 1.0, np.random.default_rng(0), FILL) is cat
    expected = {np.asarray(OPERATIONS[name](cat, sign, FILL)).tobytes() for name in OPERATIONS for sign in (-1.0, 1.0)}
    random = np.random.default_rng(0)
    found = {np.asarray(rand_augment(cat, 1, 1.0, random, FILL)).tobytes() for _ in range(300)}
    assert found == expected


@pytest.mark.parametrize("name", ["colour_jitter_probability", "grayscale", "blur", "solarise"])
def test_each_change_has_its_probability(cat, name):
    random, draws = np.random.default_rng(0), 400
    config = AugmentConfig(**{name: 0.3}, colour_jitter=0.4 if name.startswith("colour") else 0.0)
    changed = sum(np.asarray(change_colours(cat, config, random)).tobytes() != cat.tobytes() for _ in range(draws))
    assert abs(changed / draws - 0.3) < 4 * math.sqrt(0.3 * 0.7 / draws)


def test_the_blur_has_at_most_its_radius(cat):
    def detail(radius):
        random, config = np.random.default_rng(0), AugmentConfig(blur=1.0, blur_radius=radius)
        blurred = [np.asarray(change_colours(cat, config, random)).astype(float) for _ in range(20)]
        return np.mean([np.abs(np.diff(pixels, axis=1)).mean() for pixels in blurred])

    sharp = np.abs(np.diff(np.asarray(cat).astype(float), axis=1)).mean()
    assert sharp >= detail(0.1) > 0.95 * sharp > detail(2.0) > detail(8.0)


def test_jitter_stays_within_its_factors():
    grey = Image.new("RGB", (8, 8), (100, 100, 100))  # contrast and saturation leave it alone
    random, config = np.random.default_rng(0), AugmentConfig(colour_jitter=0.4)
    values = [np.asarray(change_colours(grey, config, random))[0, 0, 0] for _ in range(300)]
    assert 59 <= min(values) < 64 and 136 < max(values) <= 141
    assert abs(np.mean(values) - 100) < 5 * 80 / math.sqrt(12 * 300) + 1


def test_hues_are_turned_within_their_part_of_the_circle():
    red, random = Image.new("RGB", (8, 8), (200, 40, 40)), np.random.default_rng(0)
    config, hues = AugmentConfig(hue=0.1), []
    for _ in range(300):
        pixel = np.asarray(change_colours(red, config, random))[0, 0] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        assert abs(saturation - 0.8) < 0.02 and abs(value - 200 / 255) < 0.01  # as well as 8 bits can tell
        hues.append((hue + 0.5) % 1 - 0.5)
    assert -0.105 < min(hues) < -0.09 and 0.09 < max(hues) < 0.105
    assert abs(np.mean(hues)) < 5 * 0.2 / math.sqrt(12 * 300) + 0.002
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    assert np.asarray(change_colours(grey, config, random)).tobytes() == np.asarray(grey).tobytes()


def test_saturation_has_a_distance_of_its_own():
    red, random = Image.new("RGB", (8, 8), (200, 40, 40)), np.random.default_rng(0)
    config = AugmentConfig(saturation=0.2)
    spread = [np.ptp(np.asarray(change_colours(red, config, random)).astype(int)[0, 0]) for _ in range(300)]
    assert 126 <= min(spread) < 132 and 188 < max(spread) <= 194


def test_erasing_leaves_noise_in_one_rectangle():
    random, areas = np.random.default_rng(0), []
    for _ in range(200):
        pixels = np.full((3, 48, 64), 255, dtype=np.uint8)
        erase(pixels, Preprocessing(mean=(0.2, 0.4, 0.6), std=(0.02, 0.02, 0.02)), random)
        inside = (pixels != 255).all(axis=0)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all() and box.sum() == inside.sum() == (pixels != 255).any(axis=0).sum()
        areas.append(inside.mean())
        noise = pixels[:, inside].astype(float)
        assert np.abs(noise.mean(axis=1) - [51, 102, 153]).max() < 0.5 + 5 * 5.1 / math.sqrt(noise.shape[1])
    assert 0.015 < min(areas) < 0.06 and 0.28 < max(areas) < 0.35
