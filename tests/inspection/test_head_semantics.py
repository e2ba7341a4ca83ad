"""Heads are matched with labels, and only a head that really looks for a label beats its controls."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from crate_transformer.inspection import attention_maps, head_semantics, untrained_twin
from crate_transformer.inspection.semantics import _match
from crate_transformer.models import build_model

TINY = {"img_size": 32, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 4}
GRID = 8


def squares(count, seed):
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, GRID, GRID), dtype=bool)
    for mask in masks:
        top, left = generator.integers(0, GRID - 2, 2)
        mask[top : top + 2, left : left + 2] = True
    return masks


def enlarged(grids):
    return grids.repeat(4, axis=1).repeat(4, axis=2)


def test_a_head_that_marks_a_label_is_found_and_its_controls_are_at_chance():
    generator = np.random.default_rng(0)
    first, second = squares(60, 1), squares(60, 2)
    labels = np.where(first, 7, np.where(second, 3, 0))
    maps, control = generator.random((2, 60, 3, GRID, GRID))
    maps[:, 2] += labels == 7
    found, skipped = _match(maps, control, enlarged(labels))
    assert (found.labels, skipped) == ((3, 7), ())
    assert found.best_head[1] == 2
    assert found.auc.shape == (3, 2)
    assert found.auc[2, 1] == found.matched[1] == 1
    assert abs(found.matched[0] - 0.5) < 0.1
    np.testing.assert_allclose(found.untrained_matched, 0.5, atol=0.1)
    np.testing.assert_allclose(found.shuffled_matched, 0.5, atol=0.1)


def test_unknown_pixels_are_neither_label_nor_background():
    """A border of unknown pixels around each object: its patches have the label or do not count."""
    generator, size = np.random.default_rng(0), 4
    maps, control = generator.random((2, 6, 3, GRID, GRID))
    labels = np.zeros((6, GRID * size, GRID * size), dtype=np.int64)
    for image in labels:
        top, left = generator.integers(0, (GRID - 4) * size, 2)
        image[top : top + 4 * size, left : left + 4 * size] = 255
        image[top + 3 : top + 13, left + 3 : left + 13] = 7
    found, _ = _match(maps, control, labels)
    patches = labels.reshape(6, GRID, size, GRID, size).swapaxes(2, 3).reshape(6, GRID * GRID, size**2)
    inside, unknown = (patches == 7).sum(axis=-1), (patches == 255).sum(axis=-1)
    counted, truth = unknown <= size**2 / 2, 2 * inside > size**2 - unknown
    assert not counted.all() and (counted & truth != (2 * inside > size**2)).any()
    for head in range(3):
        flat = maps[:, head].reshape(6, -1)
        aucs = [roc_auc_score(truth[i][counted[i]], flat[i][counted[i]]) for i in range(6)]
        assert found.auc[head, 0] == pytest.approx(np.mean(aucs))
    assert _match(maps, control, np.where(labels == 7, 7, 255)) == (None, (7,))  # nothing to compare the label with


def test_the_auc_of_a_real_model_is_the_mean_over_images_that_show_the_label():
    model = build_model("crate_tiny_patch16_224", **TINY)
    images = torch.randn(6, 3, 32, 32)
    masks = squares(6, 3)
    labels = np.where(masks, 5, 0)
    labels[0] = 0
    labels[1, 0, 0] = 9
    labels[2, 7, 7] = 255
    found = head_semantics(model, images, labels=enlarged(labels), layer=-2)
    maps = attention_maps(model, images, layers=[0]).maps[:, 0]
    np.testing.assert_array_equal(found.maps, maps)
    assert (found.layer, found.matches.labels, found.skipped) == (0, (5,), (9,))
    assert found.matches.num_images.tolist() == [5]
    known = labels != 255
    for head in range(3):
        aucs = [roc_auc_score(labels[i][known[i]] == 5, maps[i, head][known[i]]) for i in range(1, 6)]
        assert found.matches.auc[head, 0] == pytest.approx(np.mean(aucs))
    assert found.head_labels[1].startswith("head 1\nconsistency ")


def test_without_labels_there_are_no_matches_and_the_control_can_be_given():
    model = build_model("crate_tiny_patch16_224", **TINY)
    images = torch.randn(4, 3, 32, 32)
    found = head_semantics(model, images, untrained=untrained_twin(model, seed=3))
    assert (found.matches, found.skipped) == (None, ())
    nothing = head_semantics(model, images, labels=np.zeros((4, 32, 32), dtype=np.int64))
    assert nothing.matches is None
    with pytest.raises(ValueError, match="at least two images"):
        head_semantics(model, images[:1])
    with pytest.raises(ValueError, match="no layer 2"):
        head_semantics(model, images, layer=2)


@pytest.mark.parametrize("family", ["crate_tiny_patch16_224", "vit_tiny_patch16_224"])
@pytest.mark.parametrize(("dtype", "measured"), [(torch.bfloat16, np.float32), (torch.float64, np.float64)])
def test_heads_of_models_of_every_precision_are_measured(family, dtype, measured):
    torch.manual_seed(0)
    model = build_model(family, img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=0).eval()
    images = torch.randn(4, 3, 16, 16)
    labels = np.zeros((4, 16, 16), dtype=np.int64)
    labels[:, :8, 4:] = 1
    expected = head_semantics(model, images, labels=labels)
    found = head_semantics(model.to(dtype), images, labels=labels)
    assert found.maps.dtype == found.summary.consistency.dtype == measured
    tolerance = {"atol": 0.05 if dtype is torch.bfloat16 else 1e-5}
    np.testing.assert_allclose(found.maps, expected.maps, **tolerance)
    np.testing.assert_allclose(found.summary.consistency, expected.summary.consistency, **tolerance)
    np.testing.assert_allclose(found.summary.entropy, expected.summary.entropy, **tolerance)
