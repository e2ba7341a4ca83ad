"""Switching heads and atoms off, by zero and by their mean over reference images."""

import numpy as np
import pytest
import torch

from crate_transformer.inspection import (
    head_effects,
    num_atoms,
    probabilities_without,
    record,
    reference_means,
)
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 4}
NAMES = ("crate_tiny_patch16_224", "crate_alpha_tiny_patch16_224", "vit_tiny_patch16_224", "tost_tiny_patch16_224")


@pytest.fixture(params=NAMES)
def model(request):
    model = build_model(request.param, **TINY).eval()
    with torch.no_grad():  # a fresh head's part in the answer is small
        for name, parameter in model.named_parameters():
            if name.endswith("out.weight") or name == "head.weight":
                parameter.mul_(10)
    return model


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16)


@pytest.fixture
def reference():
    return torch.randn(5, 3, 16, 16)


def test_means_are_those_over_images_and_tokens(model, reference):
    means = reference_means(model, [reference[:2], reference[2:]])
    with torch.no_grad(), record(model, "blocks.*.*.head_output") as seen:
        model(reference)
    for mean, values in zip(means.heads, seen.values(), strict=True):
        torch.testing.assert_close(mean, values.mean(dim=(0, 2)))
    assert means.images == 5 and len(means.codes) == (3 if num_atoms(model) else 0)
    with pytest.raises(ValueError, match="at least one image"):
        reference_means(model, [])


def test_each_head_alone_is_as_without_that_head(model, images, reference):
    means = reference_means(model, reference)
    effects = head_effects(model, images, means, shown=3)
    assert effects.zero.shape == (3, 3, 2, 3)
    intact = probabilities_without(model, images)
    np.testing.assert_allclose(np.take_along_axis(intact, effects.classes, axis=1), effects.intact, rtol=1e-5)
    assert (np.diff(effects.intact, axis=1) <= 0).all()
    for layer, head in ((0, 1), (2, 0)):
        for found, instead in ((effects.zero, None), (effects.mean, means)):
            expected = probabilities_without(model, images, heads=[(layer, head)], means=instead)
            shown = np.take_along_axis(expected, effects.classes, axis=1)
            np.testing.assert_allclose(found[:, layer, head], shown, rtol=1e-4, atol=1e-6)
    assert np.abs(effects.zero - effects.intact[:, None, None]).max() > 1e-4
    assert np.abs(effects.zero - effects.mean).max() > 1e-5


def test_all_heads_of_a_layer_at_zero_leave_the_bias_of_the_output_map(model, images):
    without = probabilities_without(model, images, heads=[(1, 0), (1, 1)])
    attention = next(part for name, part in model.blocks[1].named_children() if name in ("mssa", "attn", "tssa"))
    with torch.no_grad():
        attention.out.weight.zero_()
        expected = model(images).softmax(dim=-1)
    np.testing.assert_allclose(without, expected, rtol=1e-4, atol=1e-6)


def test_atoms(model, images, reference):
    if not num_atoms(model):
        with pytest.raises(ValueError, match="has no sparse code: there are no atoms to switch off"):
            probabilities_without(model, images, atoms={0: [0]})
        return
    code = f"blocks.1.{model.blocks[1].sparse_code}"
    with torch.no_grad(), record(model, code) as seen:
        model(images)
    firing = seen[code].amax(dim=(0, 1)).topk(3).indices.tolist()
    intact = probabilities_without(model, images)
    zero = probabilities_without(model, images, atoms={1: firing})
    mean = probabilities_without(model, images, atoms={1: firing}, means=reference_means(model, reference))
    assert np.abs(zero - intact).max() > 1e-5 and np.abs(zero - mean).max() > 1e-6
    with pytest.raises(ValueError, match=f"there is no atom {num_atoms(model)}: the model has atoms 0 to"):
        probabilities_without(model, images, atoms={1: [num_atoms(model)]})


def test_what_does_not_exist(images):
    model = build_model("crate_tiny_patch16_224", **TINY)
    with pytest.raises(ValueError, match="there is no layer 3: the model has layers 0 to 2"):
        probabilities_without(model, images, heads=[(3, 0)])
    with pytest.raises(ValueError, match="there is no head 2: the model has heads 0 to 1"):
        probabilities_without(model, images, heads=[(0, 2)])
    model.reset_classifier(0)
    with pytest.raises(ValueError, match="has no classifier"):
        head_effects(model, images, reference_means(model, images))
