"""Principal components of patch features."""

import numpy as np
import pytest
import torch

from crate_transformer.inspection import feature_pca, patch_features
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 4}


@pytest.fixture
def model():
    return build_model("crate_tiny_patch16_224", **TINY).eval()


def scores(features):
    """By a singular value decomposition, each with an arbitrary sign."""
    centred = features - features.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return u * s, s**2 / (s**2).sum()


def agree(found, expected):
    """Equal up to turning 0..1 round."""
    return min(np.abs(found - expected).max(), np.abs(found - (1 - expected)).max())


def unit(values):
    return (values - values.min()) / np.ptp(values)


@pytest.mark.parametrize("remove", [True, False])
def test_components_are_those_of_all_images_together(model, remove):
    images = torch.randn(4, 3, 24, 32)
    found = feature_pca(model, images, layer=0, remove_background=remove)
    features = patch_features(model, images, layer=0).features.reshape(-1, 12).astype(np.float64)
    all_scores, shares = scores(features)
    assert agree(found.first.ravel(), unit(all_scores[:, 0])) < 1e-6
    assert found.first_fraction == pytest.approx(shares[0])
    foreground = found.first > 0.5 if remove else np.ones((4, 6, 8), dtype=bool)
    np.testing.assert_array_equal(found.foreground, foreground)
    few, shares = scores(features[foreground.ravel()])
    for component in range(3):
        assert agree(found.colours[foreground][:, component], unit(few[:, component])) < 1e-6
    np.testing.assert_allclose(found.colour_fractions, shares[:3])
    assert not found.colours[~foreground].any()
    assert (found.layer, found.background_removed) == (0, remove)
    assert not found.nothing_found.any()


def test_the_border_is_background_and_signs_do_not_depend_on_the_order(model):
    images = torch.zeros(3, 3, 40, 40)
    images[:, :, 12:28, 12:28] = torch.randn(3, 3, 16, 16)
    found = feature_pca(model, images)
    border = np.ones((10, 10), dtype=bool)
    border[1:-1, 1:-1] = False
    assert found.first[:, border].mean() < found.first[:, ~border].mean()
    turned = feature_pca(model, images.flip(0))
    np.testing.assert_allclose(turned.first[::-1], found.first, atol=1e-5)
    np.testing.assert_allclose(turned.colours[::-1], found.colours, atol=1e-4)


def test_nothing_is_found_where_nothing_is(model):
    images = torch.randn(3, 3, 16, 16)
    images[1] = 0.0
    found = feature_pca(model, images)
    assert found.nothing_found[1]
    assert not found.foreground[1].any()
    for size in ((4, 4), (4, 8)):
        few = feature_pca(model, torch.randn(1, 3, *size))
        assert np.isfinite(few.colours).all()
        assert np.isfinite(few.first).all()
    assert feature_pca(model, torch.randn(1, 3, 4, 4)).nothing_found.all()
    with torch.no_grad():
        model.blocks[-1].mssa.subspaces.weight.zero_()
    constant = feature_pca(model, images)
    assert constant.nothing_found.all()
    assert not constant.first.any()


def test_bad_input_is_named_with_the_remedy(model):
    with pytest.raises(ValueError, match=r"no layer 2.*layers 0 to 1"):
        feature_pca(model, torch.randn(1, 3, 16, 16), layer=2)
    with pytest.raises(ValueError, match="at least one image"):
        feature_pca(model, torch.randn(0, 3, 16, 16))
