"""The linear probe: its fit, its choice of the penalty, and what it refuses."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from crate_transformer.evaluation import FrozenFeatures, linear_probe
from crate_transformer.evaluation.linear_probe import _Fit, every_fifth


def features(labels=lambda y: y, known: int = 1000, scale: float = 1.0) -> FrozenFeatures:
    found = load_digits()
    x, y = torch.from_numpy(found.data).float() * scale, torch.from_numpy(found.target).long()
    return FrozenFeatures(
        reference={"model": x[:known], "pixels": x[:known, :8]},
        reference_labels=labels(y[:known]),
        reported={"model": x[1000:], "pixels": x[1000:, :8]},
        reported_labels=labels(y[1000:]),
    )


def test_digits_are_told_apart_and_a_strip_of_pixels_less_so():
    found = linear_probe(features())
    assert found.rows["model"].top1 > 0.88 > 0.6 > found.rows["pixels"].top1 > 0.2
    choice = found.choices["model"]
    assert choice.converged and choice.tried[choice.penalty] == max(choice.tried.values())
    assert (
        found.split.startswith("the penalty was chosen on 200 of the 1,000 pictures") or "of the 1,000" in found.split
    )


@pytest.mark.parametrize("classes", [10, 2])
def test_the_fit_is_a_minimum(classes):
    """The gradient of the stated function vanishes at the fitted weights."""
    data = features(labels=lambda y: y % classes)
    x, y = data.reference["model"].numpy(), data.reference_labels.numpy()
    fit = _Fit(x, y)
    assert fit.run(0.1)
    weights, bias = (np.asarray(part, dtype=np.float64) for part in (fit.model.coef_, fit.model.intercept_))
    if classes == 2:  # the difference of the two rows, which a softmax divides equally between them
        weights, bias = (np.concatenate([-part, part]) / 2 for part in (weights, bias))
    weights, bias = (torch.from_numpy(part).requires_grad_() for part in (weights, bias))
    z = torch.from_numpy(((x - x.mean(0)) / fit.spread).astype(np.float64))
    loss = torch.nn.functional.cross_entropy(z @ weights.T + bias, torch.from_numpy(y)) + 0.05 * weights.square().sum()
    loss.backward()
    assert max(weights.grad.abs().max(), bias.grad.abs().max()) < 3e-4  # scikit-learn's tolerance is 1e-4, in float32


def test_reported_pictures_choose_nothing():
    data = features()
    turned = FrozenFeatures(
        reference=data.reference,
        reference_labels=data.reference_labels,
        reported=data.reported,
        reported_labels=data.reported_labels.flip(0),
    )
    assert linear_probe(data).choices == linear_probe(turned).choices


def test_every_fifth_of_each_class():
    labels = np.array([0] * 12 + [1] * 3 + [2] + [3] * 2)
    assert np.flatnonzero(every_fifth(labels)).tolist() == [4, 9, 14, 17]


def test_scale_and_constant_features_change_nothing():
    """Digits have pixels that are always black; features far from 1 are standardised like others."""
    small, large = linear_probe(features(scale=1e-4)), linear_probe(features(scale=1e4))
    assert abs(small.rows["model"].top1 - large.rows["model"].top1) <= 2 / 797


def test_two_classes_and_classes_without_pictures():
    assert linear_probe(features(labels=lambda y: y % 2)).rows["model"].top1 > 0.8
    apart, plain = linear_probe(features(labels=lambda y: 3 * y)), linear_probe(features())
    assert apart.rows == plain.rows


def test_too_little_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        linear_probe(features(labels=torch.zeros_like))
    with pytest.raises(ValueError, match="use k-NN instead"):
        linear_probe(features(known=10))  # one picture of each digit
    with pytest.raises(ValueError, match="give positive numbers"):
        linear_probe(features(), penalties=(0.0, 1.0))
