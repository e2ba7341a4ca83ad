import math

import pytest
import torch
from scipy import stats

from crate_transformer.configs import AugmentConfig
from crate_transformer.data.mixing import mix, one_hot, symmetric_beta

ALL_KINDS = {
    "mixup": AugmentConfig(mixup=0.8),
    "cutmix": AugmentConfig(cutmix=1.0),
    "both": AugmentConfig(mixup=0.8, cutmix=1.0),
    "some": AugmentConfig(mixup=0.8, cutmix=1.0, mix_probability=0.3, cutmix_fraction=0.7),
}
every_kind = pytest.mark.parametrize("config", ALL_KINDS.values(), ids=ALL_KINDS)
MANY = 4000


def batch(size=64, height=12, width=10):
    return torch.rand(size, 3, height, width), torch.rand(size, 5).softmax(1), torch.arange(100, 100 + size)


def coverage(config, seed=0, side=20):
    """The weight of each picture at each of its pixels, seen by mixing black with white, and in its target."""
    images = torch.zeros(MANY, 1, side, side)
    images[::2] = 1
    targets = one_hot(torch.arange(MANY) % 2, 2)
    mixed, soft = mix(images, targets, torch.arange(MANY), seed, config)
    own = torch.where((torch.arange(MANY) % 2 == 0).view(-1, 1, 1), mixed[:, 0], 1 - mixed[:, 0])
    return own, (soft * targets).sum(dim=1)


@every_kind
def test_targets_are_mixed_as_the_pictures_are(config):
    own, weights = coverage(config)
    torch.testing.assert_close(own.mean(dim=(1, 2)), weights, rtol=0, atol=1e-5)
    assert weights.min() >= 0 and weights.max() <= 1


@every_kind
def test_each_picture_is_mixed_with_its_neighbour_only(config):
    images, targets, positions = batch()
    mixed, soft = mix(images, targets, positions, 0, config)
    torch.testing.assert_close(soft.sum(1), torch.ones(len(soft)))
    other = images.view(-1, 2, *images.shape[1:]).flip(1).view_as(images)
    low, high = torch.minimum(images, other), torch.maximum(images, other)
    assert (mixed >= low - 1e-6).all() and (mixed <= high + 1e-6).all()
    for row, (pixels, target) in enumerate(zip(mixed, soft, strict=True)):
        partner = row ^ 1
        slope = (target - targets[partner]).dot(targets[row] - targets[partner])
        weight = slope / (targets[row] - targets[partner]).square().sum()
        torch.testing.assert_close(target, torch.lerp(targets[partner], targets[row], weight), rtol=0, atol=1e-6)
        if config.cutmix == 0:
            torch.testing.assert_close(pixels, torch.lerp(images[partner], images[row], weight), rtol=0, atol=1e-5)
        elif config.mixup == 0:
            kept = (pixels == images[row]).all(dim=0)
            assert torch.equal(pixels, torch.where(kept, images[row], images[partner]))
            assert weight == pytest.approx(kept.float().mean().item(), abs=1e-5)
            rows, columns = (~kept).any(dim=1).sum(), (~kept).any(dim=0).sum()
            assert (~kept).sum() == rows * columns, "a box"


@every_kind
def test_parts_of_a_batch_are_mixed_as_the_whole(config):
    images, targets, positions = batch()
    whole = mix(images, targets, positions, 7, config)
    for part in (slice(0, 22), slice(22, 64)):
        found = mix(images[part], targets[part], positions[part], 7, config)
        assert all(torch.equal(a, b[part]) for a, b in zip(found, whole, strict=True))
    other = mix(images, targets, positions, 8, config)
    assert not torch.equal(whole[0], other[0])


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8, 1.0, 3.0])
def test_weights_follow_the_beta_distribution(alpha):
    torch.manual_seed(0)  # a fixed sample: the test passes or fails for good
    numbers = symmetric_beta(torch.rand(100_000, 2, dtype=torch.float64), alpha)
    assert stats.kstest(numbers.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-6


def test_the_ends_of_the_uniform_numbers_are_finite():
    ends = torch.tensor([0.0, 0.25, 0.5, 1 - 2**-24], dtype=torch.float64)
    for alpha in (1e-3, 0.2, 1.0, 1e3):
        weights = symmetric_beta(torch.cartesian_prod(ends, ends), alpha)
        assert (weights >= 0).all() and (weights <= 1).all()


def test_weights_of_mixup_in_the_mean_and_spread():
    _, weights = coverage(ALL_KINDS["mixup"])
    assert stats.kstest(weights.numpy(), stats.beta(0.8, 0.8).cdf).pvalue > 1e-6
    pairs = weights.view(-1, 2)
    assert abs(torch.corrcoef(pairs.T)[0, 1]) < 5 / math.sqrt(len(pairs)), "every picture has a weight of its own"


def test_boxes_of_cutmix():
    own, weights = coverage(ALL_KINDS["cutmix"], side=40)
    # around a uniform centre, s - s^2 / 4 of a side s lies inside; s^2 is uniform: E (s - s^2 / 4)^2
    expected = 1 - (1 / 2 - 1 / 5 + 1 / 48)
    assert weights.mean().item() == pytest.approx(expected, abs=5 * weights.std().item() / math.sqrt(MANY) + 1 / 40)
    middle, corner = 1 - own[:, 20, 20].mean(), 1 - own[:, 0, 0].mean()
    assert middle > corner > 0.05


def test_how_many_are_mixed_and_by_which_kind():
    own, _ = coverage(ALL_KINDS["some"])
    flat = own.flatten(1)
    mixed = (flat < 1).any(dim=1)
    by_mixup = mixed & (flat == flat[:, :1]).all(dim=1) & (flat[:, 0] > 0)
    assert mixed.float().mean() == pytest.approx(0.3, abs=0.04)
    assert (by_mixup.sum() / mixed.sum()).item() == pytest.approx(0.3, abs=0.08)


def test_nothing_is_mixed_unless_asked():
    images, targets, positions = batch(3)
    for config in (AugmentConfig(), AugmentConfig(mixup=1.0, mix_probability=0.0)):
        assert mix(images, targets, positions, 0, config) == (images, targets)
    with pytest.raises(ValueError, match="a batch of 3 images cannot be mixed in pairs: its size must be even"):
        mix(images, targets, positions, 0, AugmentConfig(mixup=1.0))


def test_smoothed_targets():
    torch.testing.assert_close(
        one_hot(torch.tensor([1, 0]), 4, 0.2), torch.tensor([[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]])
    )
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = torch.nn.functional.cross_entropy
    torch.testing.assert_close(
        loss(logits, one_hot(labels, 4, 0.1)), loss(logits, labels, label_smoothing=0.1), rtol=1e-5, atol=1e-6
    )
