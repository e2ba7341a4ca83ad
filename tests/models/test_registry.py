"""Names of models."""

import pytest

from crate_transformer.models import MODELS, build_model, canonical_name, list_models


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("CRATE_tiny", "crate_tiny_patch16_224"),
        ("CRATE-S", "crate_small_patch16_224"),
        ("CRATE-B/8", "crate_base_patch8_224"),
        ("crate_large", "crate_large_patch16_224"),
        ("ViT-T", "vit_tiny_patch16_224"),
        ("CBT-S", "cbt_small_patch16_224"),
        ("crate_mini_patch8_64", "crate_mini_patch8_64"),
    ],
)
def test_aliases_of_the_papers(alias, name):
    assert canonical_name(alias) == name


@pytest.mark.parametrize("name", ["crate_tny_patch16_224", "CRATE-B/7", "resnet50", ""])
def test_an_unknown_name_is_refused_with_suggestions(name):
    with pytest.raises(ValueError, match=r"there is no model .*(did you mean|choose one of) [a-z]+_"):
        canonical_name(name)


def test_listing():
    assert list_models() == sorted(MODELS)
    assert list_models("vit_*") == [name for name in sorted(MODELS) if name.startswith("vit_")]
    assert list_models("nothing*") == []


def test_options_replace_fields():
    model = build_model("crate_micro_patch4_32", num_classes=7, depth=1, global_pool="avg")
    assert (model.num_classes, len(model.blocks), model.config.global_pool) == (7, 1, "avg")
    assert model.preprocessing.img_size == (32, 32)


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match=r"crate_micro_patch4_32 has no option 'heads'; its options are .*num_heads"):
        build_model("crate_micro_patch4_32", heads=3)
