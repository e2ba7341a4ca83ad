from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from sklearn.datasets import load_digits

from crate_transformer.configs import AugmentConfig
from crate_transformer.data import DigitsConfig, TrainView, digits, train_loader
from crate_transformer.data.digits import _place, _regions, _strokes
from crate_transformer.models import Preprocessing


def area_under_curve(scores: torch.Tensor, masks: torch.Tensor) -> float:
    """Mean over pictures of the chance that a pixel of the mask scores above one outside."""
    values = []
    for score, mask in zip(scores.flatten(1).numpy(), masks.flatten(1).numpy(), strict=True):
        inside = mask.sum()
        values.append((rankdata(score)[mask].sum() - inside * (inside + 1) / 2) / inside / (len(mask) - inside))
    return sum(values) / len(values)


def test_what_comes_out():
    data = digits("train", 64, seed=1)
    assert data.images.shape == (64, 3, 32, 32) and data.masks.shape == (64, 32, 32)
    assert data.classes == tuple("0123456789") and set(data.labels.tolist()) <= set(range(10))
    part = data.subset([3, 5])
    assert torch.equal(part.masks, data.masks[[3, 5]]) and torch.equal(part.images, data.images[[3, 5]])
    view = TrainView(AugmentConfig(), Preprocessing(img_size=(32, 32)))
    (batch,) = train_loader(data, view, size=(32, 32), batch_size=8, steps=1)
    assert batch["images"].shape == (8, 3, 32, 32)


def test_the_seed_decides_and_the_count_does_not():
    data = digits("test", 70, seed=4)
    for name in ("images", "labels", "masks"):
        assert torch.equal(getattr(digits("test", 70, seed=4), name), getattr(data, name))
        assert torch.equal(getattr(digits("test", 20, seed=4), name), getattr(data, name)[:20])
    assert not torch.equal(digits("test", 70, seed=5).images, data.images)
    assert not torch.equal(digits("selection", 70, seed=4).labels, data.labels)


def test_no_digit_and_no_part_of_a_photograph_is_in_two_splits():
    sets = {}
    for split, count in (("train", 1400), ("selection", 131), ("test", 266)):
        strokes, labels = _strokes(split)
        assert len(strokes) == len(labels) == count and labels.bincount(minlength=10).min() >= 8
        sets[split] = {tuple(stroke.flatten().tolist()) for stroke in strokes}
    assert len(set.union(*sets.values())) == sum(map(len, sets.values()))
    assert sum(map(len, sets.values())) == len({tuple(image.ravel()) for image in load_digits().images})
    for train, selection, test in zip(*(_regions(split, 1) for split in ("train", "selection", "test")), strict=True):
        height, width = train.shape[1:]
        assert selection.shape[1] + test.shape[1] == height
        assert width + selection.shape[2] == pytest.approx(width / 0.7, abs=2) and selection.shape[2] == test.shape[2]
        assert min(*selection.shape[1:], *test.shape[1:]) >= 96, "a window of 96 pixels fits"


def test_the_same_scene_at_a_larger_size():
    small, large = digits("test", 50), digits("test", 50, size=64)
    assert torch.equal(small.labels, large.labels)
    halved = F.avg_pool2d(large.images.float(), 2)
    assert (halved - small.images.float()).abs().mean() < 6
    assert (halved - small.images.float().roll(1, 0)).abs().mean() > 30
    assert ((F.avg_pool2d(large.masks.float()[:, None], 2)[:, 0] > 0.5) == small.masks).float().mean() > 0.98


def test_masks_are_the_pixels_the_digit_changed():
    flat = DigitsConfig(contrast=0.5, bright=1.0, ground=0.0, texture=0.0)
    data = digits("train", 100, config=flat)
    grey = data.images.float().mean(1)
    dark, bright = grey.amin((1, 2)), grey.amax((1, 2))
    above = grey - ((dark + bright) / 2)[:, None, None]
    clear = above.abs() > 1
    assert clear.float().mean() > 0.99
    assert torch.equal(data.masks[clear], (above > 0)[clear])
    assert ((bright - dark) / 255 - 0.5).abs().max() < 0.02
    assert data.masks.flatten(1).sum(1).min() > 10


def test_positions_are_uniform_and_inside():
    config = DigitsConfig(scale=(0.3, 0.3), rotation=0.0, overhang=0.0)
    masks = digits("train", 3000, config=config).masks
    touched = [masks.any(dim) for dim in (1, 2)]
    for extent in touched:
        first, last = extent.float().argmax(1), 31 - extent.flip(1).float().argmax(1)
        assert first.min() == 0 and last.max() == 31
        assert (last - first).max() <= 12
        place = first / (31 - last + first)
        assert torch.allclose(torch.histc(place, 5, 0, 1) / 3000, torch.full((5,), 0.2), atol=0.05)
    inside = masks[:, 1:-1, 1:-1].flatten(1).sum(1)
    cut = digits("train", 3000, config=replace(config, overhang=0.5)).masks.flatten(1).sum(1)
    assert cut.float().mean() < 0.9 * inside.float().mean()


def test_the_ink_is_where_it_was_put_whatever_the_rotation():
    strokes = torch.zeros(64, 8, 8)
    strokes[:, 1, 6] = 1.0
    random = torch.rand(64, 4)
    alpha = _place(strokes, random, 64, DigitsConfig(scale=(0.5, 0.5), rotation=1.5, overhang=0.5))[:, 0]
    inside = ((random[:, 2:] - 0.5).abs() < 0.4).all(1)
    steps = (torch.arange(64) + 0.5) / 64
    for axis, place in ((1, random[:, 2]), (2, random[:, 3])):
        centroid = (alpha.sum(axis) * steps).sum(1) / alpha.sum((1, 2))
        assert inside.sum() > 20 and torch.allclose(centroid[inside], place[inside], atol=0.01)


def test_brightness_tells_nothing_by_default_and_all_when_asked():
    test = digits("test", 300)
    assert area_under_curve(test.images.float().mean(1), test.masks) == pytest.approx(0.5, abs=0.07)
    easy = digits("test", 100, config=DigitsConfig(bright=1.0))
    assert area_under_curve(easy.images.float().mean(1), easy.masks) > 0.95


def test_refusals():
    with pytest.raises(ValueError, match="split is 'val': choose one of train, selection, test"):
        digits("val", 3)
    with pytest.raises(ValueError, match="count is 0"):
        digits("test", 0)
