"""ToST: sizes, the way from patches to the class token, and what it refuses."""

import dataclasses

import pytest
import torch

from crate_transformer.models import ToST, ToSTConfig, build_model

PUBLISHED = {"tost_tiny_patch16_224": 5.8e6, "tost_small_patch16_224": 22.6e6}
CONFIG = ToSTConfig(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=4, num_classes=5)
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def count(name):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(name).parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name):
    assert abs(count(name) - PUBLISHED[name]) < 0.05e6


def test_parameters_of_the_medium_size():
    """The paper says 68.1M; its released code has 71.48M, which are 68.2 times 2 ** 20."""
    assert count("tost_medium_patch16_224") == 71_481_064


def test_the_class_token_joins_after_the_blocks():
    model = ToST(CONFIG).eval()
    seen = []
    model.blocks[0].register_forward_hook(lambda _, args, z: seen.append(z.shape))
    with torch.no_grad():
        z = model.forward_features(IMAGES)
        assert seen == [(2, 16, 16)] and z.shape == (2, 17, 16)
        torch.testing.assert_close(model(IMAGES), model.head(model.norm(z)[:, 0]))
        final, maps = model.forward_intermediates(IMAGES)
    assert torch.equal(final, z)
    assert [tuple(one.shape) for one in maps] == [(2, 16, 4, 4)] * 2


def test_the_two_kinds_of_layer_are_their_equations():
    model = ToST(CONFIG).double()
    z, block, layer = torch.randn(2, 5, 16, dtype=torch.float64), model.blocks[0], model.class_layers[0]
    gamma1, gamma2 = torch.randn(2, 16, dtype=torch.float64)
    for part in (block, layer):
        part.scale1.gamma.data, part.scale2.gamma.data = gamma1, gamma2
    half = z + gamma1 * block.tssa(block.norm1(z))
    torch.testing.assert_close(block(z), half + gamma2 * block.mlp(block.norm2(half)))
    normed = layer.norm1(z)
    cls = layer.norm2(z[:, :1] + gamma1 * layer.attn(normed))
    patches = layer.norm2(z[:, 1:] + gamma1 * normed[:, 1:])
    torch.testing.assert_close(layer(z), torch.cat([cls + gamma2 * layer.mlp(cls), 2 * patches], dim=1))


def test_there_is_no_softmax_attention_and_no_class_token_inside_the_blocks():
    model = ToST(CONFIG).eval()
    with pytest.raises(ValueError, match="ToST has no softmax attention in its blocks"):
        model.get_last_selfattention(IMAGES)
    with pytest.raises(ValueError, match="ToST has no class token in its blocks"):
        model.get_intermediate_layers(IMAGES, return_class_token=True)
    (patches,) = model.get_intermediate_layers(IMAGES)
    assert patches.shape == (2, 16, 16)


def test_another_native_size_keeps_all_weights():
    model = ToST(CONFIG).eval()
    wide = torch.randn(1, 3, 8, 24)
    with torch.no_grad():
        before = model(wide)
        model.set_input_size((8, 24))
        assert model.preprocessing.img_size == (8, 24)
        assert torch.equal(model(wide), before)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reg_tokens": 4}, "reg_tokens is 4: a ToST has only patches in its blocks, so it must be 0"),
        ({"num_class_layers": 0}, "num_class_layers is 0: it must be at least 1"),
        ({"patch_size": 12, "img_size": 24}, r"patch_size is \(12, 12\): a convolutional stem needs"),
        ({"embed_dim": 18, "num_heads": 4}, "dim 18 is not a multiple of num_heads 4"),
    ],
)
def test_what_it_refuses(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        ToST(dataclasses.replace(CONFIG, **changes))


def test_layer_scale_starts_where_the_size_says():
    shallow, deep = build_model("tost_tiny_patch8_224", depth=1), build_model("tost_medium_patch16_224", depth=1)
    assert shallow.blocks[0].scale1.gamma.unique().tolist() == [1.0]
    torch.testing.assert_close(deep.class_layers[1].scale2.gamma, torch.full((512,), 1e-5))
