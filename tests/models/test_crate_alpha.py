"""Sizes, names and the parts of CRATE-alpha that other families do not have."""

import dataclasses

import pytest
import torch

from crate_transformer.models import CRATEAlpha, CRATEAlphaConfig, build_model, canonical_name, list_models

PRINTED = {  # millions of parameters with 1000 classes
    "base_patch32": "73.99",
    "base_patch16": "72.33",
    "base_patch8": "72.34",
    "large_patch32": "255.98",
    "large_patch14": "253.65",
    "large_patch8": "253.79",
    "huge_patch14": "526.8",
}
CONFIG = CRATEAlphaConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5)


@pytest.mark.parametrize("size", PRINTED)
def test_parameters_are_those_published(size):
    with torch.device("meta"):
        model = build_model(f"crate_alpha_{size}_224")
    count = sum(parameter.numel() for parameter in model.parameters())
    digits = len(PRINTED[size].partition(".")[2])
    assert f"{count / 1e6:.{digits}f}" == PRINTED[size]


def test_every_published_size_is_there():
    sizes = ["tiny_patch16", "small_patch16", *PRINTED]
    assert list_models("crate_alpha_*_224") == sorted(f"crate_alpha_{size}_224" for size in sizes)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("CRATE-alpha-B/16", "crate_alpha_base_patch16_224"),
        ("crate_alpha_B16", "crate_alpha_base_patch16_224"),
        ("CRATE-\N{GREEK SMALL LETTER ALPHA}-L/14", "crate_alpha_large_patch14_224"),
        ("crate_alpha_H14", "crate_alpha_huge_patch14_224"),
        ("CRATE-alpha-S", "crate_alpha_small_patch16_224"),
        ("CRATE_alpha_tiny", "crate_alpha_tiny_patch16_224"),
    ],
)
def test_aliases_of_the_paper(alias, name):
    assert canonical_name(alias) == name


@pytest.mark.parametrize("name", ["CRATE-alpha-B/14", "CRATE-alpha-L", "crate_alpha_M16"])
def test_an_unpublished_size_is_refused(name):
    with pytest.raises(ValueError, match=r"there is no model .*; (did you mean|choose one of) .*crate_alpha_"):
        canonical_name(name)


def test_one_block_is_two_lines():
    block, z = CRATEAlpha(CONFIG).blocks[0], torch.randn(2, 5, 12)
    half = z + block.mssa(block.norm1(z))
    torch.testing.assert_close(block(z), half + block.odl(block.norm2(half)))


def test_a_fresh_model_starts_as_published():
    model = CRATEAlpha(dataclasses.replace(CONFIG, embed_dim=96, num_classes=50))
    parameters = dict(model.named_parameters())
    for name in ("pos_embed", "blocks.0.mssa.subspaces.weight", "blocks.1.mssa.out.weight", "head.weight"):
        assert parameters[name].std().item() == pytest.approx(0.02, rel=0.1)
    assert 0 < model.cls_token.abs().max() < 1e-5
    bound = (6 / 384) ** 0.5
    for name in ("dictionary", "decoupled_dictionary"):
        dictionary = parameters[f"blocks.0.odl.{name}"]
        assert dictionary.shape == (96, 384)
        assert 0.99 * bound < dictionary.abs().max() <= bound
    assert "blocks.0.mssa.out.bias" not in parameters
    assert [model.blocks[0].norm1.eps, model.blocks[1].norm2.eps, model.norm.eps] == [1e-6, 1e-6, 1e-6]


def test_biases_and_output_maps_follow_the_configuration():
    model = CRATEAlpha(
        dataclasses.replace(CONFIG, num_heads=1, has_out=True, head_eps=1e-5, patch_bias=False, head_bias=False)
    )
    assert model.norm.eps == 1e-5
    assert model.blocks[0].mssa.out.weight.shape == (12, 12)
    assert not {"patch_embed.proj.bias", "head.bias"} & model.state_dict().keys()
    model.reset_classifier(7)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 7)
    again = CRATEAlpha(model.config)
    assert again.state_dict().keys() == model.state_dict().keys()


def test_a_dictionary_without_atoms_is_refused():
    with pytest.raises(ValueError, match="num_atoms is 0: it must be at least 1"):
        dataclasses.replace(CONFIG, num_atoms=0)
