"""Sizes and the pipeline around the blocks."""

import dataclasses

import pytest
import torch

from crate_transformer.models import CRATE, CRATEConfig, ViT, ViTConfig, build_model

PUBLISHED = {
    "crate_tiny_patch16_224": 6_090_856,
    "crate_small_patch16_224": 13_116_328,
    "crate_base_patch16_224": 22_796_008,
    "crate_large_patch16_224": 77_641_192,
    "vit_tiny_patch16_224": 5_717_416,
    "vit_small_patch16_224": 22_050_664,
    "vit_base_patch16_224": 86_567_656,
}
CONFIG = CRATEConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name):
    with torch.device("meta"):
        assert count(build_model(name)) == PUBLISHED[name]


@pytest.mark.parametrize("size", ["mini_patch8_64", "micro_patch4_32"])
def test_the_baseline_has_about_as_many_parameters(size):
    with torch.device("meta"):
        crate, vit = (count(build_model(f"{f}_{size}", num_classes=10)) for f in ("crate", "vit"))
    assert abs(crate - vit) < 0.1 * crate


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"img_size": 3}, "img_size 3 is smaller than one patch of 4 x 4 pixels"),
        ({"img_size": (16, 18)}, r"img_size \(16, 18\) is not a multiple of patch_size 4"),
        ({"global_pool": "mean"}, "global_pool"),
        ({"depth": 0}, "depth is 0: it must be at least 1"),
        ({"num_classes": -1}, r"num_classes is -1: it must be 0 \(no head\) or more"),
    ],
)
def test_bad_configurations_are_refused(changes, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        dataclasses.replace(CONFIG, **changes)


def test_images_that_do_not_fit_the_patch():
    with pytest.raises(ValueError, match="image size 16 x 18 is not a multiple of the patch"):
        CRATE(CONFIG)(torch.randn(1, 3, 16, 18))


def test_pooling_and_features():
    images = torch.randn(2, 3, 16, 16)
    model = CRATE(CONFIG).eval()
    z = model.forward_features(images)
    assert z.shape == (2, 17, 12)
    torch.testing.assert_close(model(images), model.head(model.norm(z[:, 0])))
    torch.testing.assert_close(model.forward_head(z, pre_logits=True), model.norm(z[:, 0]))
    mean = CRATE(dataclasses.replace(CONFIG, global_pool="avg")).eval()
    mean.load_state_dict(model.state_dict())
    torch.testing.assert_close(mean(images), model.head(model.norm(z.mean(dim=1))))  # the class token is in the mean


def test_no_classes_is_a_feature_extractor():
    model = CRATE(dataclasses.replace(CONFIG, num_classes=0))
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 12)
    assert not list(model.get_classifier().parameters())


def test_positions_are_resampled_for_other_sizes():
    model = CRATE(CONFIG).eval()
    table = model.pos_embed.detach().clone()
    assert model.forward_features(torch.randn(1, 3, 24, 8)).shape == (1, 13, 12)
    assert torch.equal(model.pos_embed, table)
    with torch.no_grad():  # a table without spatial variation is the same at every size
        model.pos_embed[:, 1:] = model.pos_embed[:, 1:2]
        z = model.embed(torch.zeros(1, 3, 24, 8))
    torch.testing.assert_close(z[:, 1:], z[:, 1:2].expand(1, 12, 12))


def test_patch_grid_is_row_major():
    model = CRATE(dataclasses.replace(CONFIG, img_size=(8, 12)))
    grid = model.patch_grid(torch.arange(6.0).expand(2, 6), 8, 12)
    assert grid.tolist() == [[[0, 1, 2], [3, 4, 5]]] * 2


def test_one_block_is_two_lines():
    model = CRATE(CONFIG)
    z = torch.randn(2, 5, 12)
    block = model.blocks[0]
    half = z + block.mssa(block.norm1(z))
    torch.testing.assert_close(block(z), block.ista(block.norm2(half)))
    vit = ViT(ViTConfig(img_size=16, patch_size=4, embed_dim=12, depth=1, num_heads=3)).blocks[0]
    half = z + vit.attn(vit.norm1(z))
    torch.testing.assert_close(vit(z), half + vit.mlp(vit.norm2(half)))


def test_a_fresh_classifier():
    model = CRATE(CONFIG)
    model.class_names = tuple("abcde")
    model.reset_classifier(7, global_pool="avg")
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 7)
    assert (model.num_classes, model.config.num_classes, model.config.global_pool) == (7, 7, "avg")
    assert model.class_names is None
    model.reset_classifier(0)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 12)
    assert model.config.global_pool == "avg"
