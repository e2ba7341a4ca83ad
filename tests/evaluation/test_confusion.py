"""Accuracy by class, confusions and ReaL labels with known answers."""

import json
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as scikit_confusion

from crate_transformer.evaluation import AccuracyCounts
from crate_transformer.evaluation.accuracy import wilson_interval
from crate_transformer.evaluation.confusion import class_accuracies, confusion_matrix, largest_confusions
from crate_transformer.evaluation.real_labels import RealAccuracy, read_real_labels, real_accuracy, real_labels_of

NAMES = ("cat", "dog", "fox", "owl")


def test_the_matrix_is_scikit_learns():
    labels, guesses = np.random.default_rng(0).integers(0, 7, (2, 300))
    counts = AccuracyCounts(pairs=Counter(zip(labels.tolist(), guesses.tolist(), strict=True)))
    assert np.array_equal(confusion_matrix(counts, 7), scikit_confusion(labels, guesses, labels=range(7)))


def test_classes_and_confusions():
    pairs = Counter({(0, 0): 3, (0, 2): 1, (1, 0): 2, (1, 1): 2, (3, 3): 5})
    counts = AccuracyCounts(pairs=pairs)
    cat, dog, owl = class_accuracies(counts, NAMES)  # no image shows a fox
    assert (cat.name, cat.top1, cat.count, cat.top1_interval) == ("cat", 0.75, 4, wilson_interval(3, 4))
    assert (dog.top1, owl.top1, owl.count) == (0.5, 1.0, 5)
    assert [str(found) for found in largest_confusions(counts, NAMES)] == [
        "2 of 4 'dog' are classified as 'cat'",
        "1 of 4 'cat' are classified as 'fox'",
    ]
    assert len(largest_confusions(counts, NAMES, 1)) == 1
    assert dict(pairs) == dict(counts.pairs), "looking adds no entries"


def test_real_labels_follow_the_numbers(tmp_path):
    file = tmp_path / "real.json"
    file.write_text(json.dumps([[0], [1, 2], [], [3]]))
    real = read_real_labels(file)
    names = [f"val/n0/ILSVRC2012_val_{number:08d}.JPEG" for number in (4, 3, 2, 1)]
    assert real_labels_of(names, real) == [[3], [], [1, 2], [0]]
    found = real_accuracy([3, 0, 2, 1], [3, 3, 1, 0], real_labels_of(names, real), 4)
    assert found == RealAccuracy(top1=2 / 3, count=3, left_out=1, top1_interval=wilson_interval(2, 3))


@pytest.mark.parametrize("name", ["val/n0/1.JPEG", "ILSVRC2012_val_00000005.JPEG", "ILSVRC2012_val_000000011.JPEG"])
def test_other_images_have_no_real_labels(name):
    with pytest.raises(ValueError, match="no ReaL labels for"):
        real_labels_of([name], [[0]] * 4)


@pytest.mark.parametrize("content", ["{}", "[]", "[[-1]]", '[["n01440764"]]', "[[0], 1]", "not JSON"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(ValueError, match=r"real\.json"):
        read_real_labels(tmp_path / "real.json")


def test_another_order_of_classes_is_noticed():
    with pytest.raises(ValueError, match="only 0 of 3 images"):
        real_accuracy([0, 1, 2], [1, 2, 0], [[0], [1], [2]], 3)
    with pytest.raises(ValueError, match="model's 3 classes"):
        real_accuracy([0, 1], [0, 1], [[0], [1, 999]], 3)
    with pytest.raises(ValueError, match="none of the images"):
        real_accuracy([0], [0], [[]], 3)
