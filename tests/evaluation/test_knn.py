"""k nearest neighbours against scikit-learn's, and against a plain loop."""

import math
from importlib import import_module

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from crate_transformer.evaluation import FrozenFeatures, knn


def digits(known: int = 1000, labels=lambda y: y) -> FrozenFeatures:
    """Real handwritten digits: 1,000 to learn from, 797 to measure on."""
    found = load_digits()
    x, y = torch.from_numpy(found.data).float(), torch.from_numpy(found.target).long()
    return FrozenFeatures(
        reference={"model": x[:known]},
        reference_labels=labels(y[:known]),
        reported={"model": x[1000:]},
        reported_labels=labels(y[1000:]),
    )


@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_equal_votes_are_scikit_learns(k):
    features = digits()
    judge = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
    judge.fit(features.reference["model"].double().numpy(), features.reference_labels.numpy())
    expected = judge.score(features.reported["model"].double().numpy(), features.reported_labels.numpy())
    found = knn(features, k=[k], temperature=math.inf).rows["model"][k]
    assert found.top1 == expected and found.count == 797


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_weighted_votes_are_those_of_the_paper(temperature):
    features = digits()
    x, y = features.reference["model"].double().numpy(), features.reference_labels.numpy()
    q = features.reported["model"].double().numpy()
    x, q = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, q))
    hits = 0
    for query, label in zip(q, features.reported_labels.tolist(), strict=True):
        similarity = x @ query
        nearest = np.argsort(-similarity)[:20]
        votes = np.bincount(y[nearest], np.exp(similarity[nearest] / temperature), minlength=10)
        hits += int(votes.argmax() == label)
    assert knn(features, k=[20], temperature=temperature).rows["model"][20].top1 == hits / 797


def test_blocks_change_nothing(monkeypatch):
    features = digits()
    whole = knn(features)
    monkeypatch.setattr(import_module("crate_transformer.evaluation.knn"), "_BLOCK", 7 * 1000)
    assert knn(features) == whole


def test_fewer_pictures_than_neighbours():
    found = knn(digits(known=30))
    assert list(found.rows["model"]) == [10, 20, 30] and found.num_reference == 30


def test_a_single_class_and_classes_without_pictures():
    assert knn(digits(labels=torch.zeros_like)).rows["model"][10].top1 == 1.0
    apart = knn(digits(labels=lambda y: 3 * y))  # labels 1, 2, 4, ... have no pictures
    assert apart.rows["model"][10] == knn(digits()).rows["model"][10]


def test_numbers_that_are_not_positive_are_refused():
    for wrong in ({"k": []}, {"k": [0]}, {"temperature": 0.0}, {"temperature": math.nan}):
        with pytest.raises(ValueError, match="give positive numbers"):
            knn(digits(known=30), **wrong)
