"""Frozen features of every family, refusals, and the cache on disk."""

import math

import pytest
import torch
from torch import nn

from crate_transformer.evaluation import FrozenFeatures, frozen_features
from crate_transformer.evaluation.feature_cache import cached_features
from crate_transformer.evaluation.features import batch_features, tokens_of
from crate_transformer.inspection import untrained_twin
from crate_transformer.models import build_language_model, build_model

NAMES = ("crate_micro_patch4_32", "crate_alpha_mini_patch8_64", "crate_mae_tiny_patch16_224", "vit_micro_patch4_32",
         "tost_tiny_patch16_224")  # fmt: skip
SMALL = {"img_size": 16, "patch_size": 8, "depth": 2, "num_classes": 3}


def small(name: str) -> nn.Module:
    return build_model(name, **SMALL).eval()


def loader(count: int, seed: int = 0, classes: int = 3) -> list:
    images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return list(zip(images.split(4), (torch.arange(count) % classes).split(4), strict=True))


def made(labels=(0, 1, 0, 1), **changes) -> FrozenFeatures:
    x = torch.eye(4)
    parts = {
        "reference": {"model": x},
        "reference_labels": torch.tensor(labels),
        "reported": {"model": x},
        "reported_labels": torch.tensor(labels),
    }
    return FrozenFeatures(**(parts | changes))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokens", ["pooled", "class", "patches", "both"])
def test_every_family_has_features(name, tokens):
    model = small(name)
    found = frozen_features(model, loader(6), loader(5, seed=1), tokens=tokens)
    width = model.embed_dim * (2 if tokens == "both" else 1)
    assert found.reference["model"].shape == (6, width) and found.reported["untrained"].shape == (5, width)
    assert found.reference["pixels"].shape == (6, 3 * 16 * 16)
    assert found.reference_labels.tolist() == [0, 1, 2, 0, 1, 2] and found.num_classes == 3


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_by_default_the_features_are_the_input_of_the_head(pool):
    for name in (*NAMES, "hyper_set_512_patch14_224"):
        optional = {"class_token": False} if pool == "avg" and "hyper" in name else {}
        model = build_model(name, **SMALL, global_pool=pool, **optional).eval()
        images = loader(4)[0][0]
        with torch.no_grad():
            head = model.forward_head(model.forward_features(images), pre_logits=True)
            found = batch_features(model, images, tokens_of(model, None, 1), 1)
            several = batch_features(model, images, tokens_of(model, "pooled", 1), 2)
        assert torch.equal(found, head), name
        assert torch.equal(several[:, model.embed_dim :], head), name


def test_layers_stand_side_by_side():
    model = small("crate_micro_patch4_32")
    images = loader(4)[0][0]
    with torch.no_grad():
        last = batch_features(model, images, "both", 1)
        both = batch_features(model, images, "both", 2)
    dim = model.embed_dim
    assert both.shape == (4, 4 * dim)
    assert torch.equal(torch.cat([both[:, dim : 2 * dim], both[:, 3 * dim :]], dim=1), last)


def test_the_model_is_left_as_it_was_and_the_control_is_its_twin():
    model = small("crate_micro_patch4_32").train()
    found = frozen_features(model, loader(4), loader(4))
    assert model.training
    with torch.no_grad():
        twin = batch_features(untrained_twin(model), loader(4)[0][0], "class", 1)
    torch.testing.assert_close(found.reference["untrained"], twin)
    assert torch.equal(found.reference["model"], found.reported["model"])


def test_what_cannot_be_probed_is_refused():
    with pytest.raises(ValueError, match="CausalCRATE has no image features"):
        frozen_features(build_language_model("crate_lm_base", depth=1, embed_dim=16, num_heads=2), loader(4), loader(4))
    model = small("tost_tiny_patch16_224")
    with pytest.raises(ValueError, match="class token only after its last block"):
        frozen_features(model, loader(4), loader(4), layers=2)
    assert frozen_features(model, loader(4), loader(4), layers=2, tokens="patches").num_classes == 3
    without = build_model("hyper_set_512_patch14_224", **SMALL, global_pool="avg", class_token=False).eval()
    with pytest.raises(ValueError, match="this HyperSET has no class token: choose pooled or patches"):
        frozen_features(without, loader(4), loader(4), tokens="class")
    with pytest.raises(ValueError, match="layers is 3, but the model has 2 blocks"):
        frozen_features(small("crate_micro_patch4_32"), loader(4), loader(4), layers=3)
    with pytest.raises(ValueError, match="no images to evaluate on"):
        frozen_features(small("crate_micro_patch4_32"), loader(4), [])
    broken = small("crate_micro_patch4_32")
    with torch.no_grad():
        broken.cls_token.fill_(math.nan)
    with pytest.raises(ValueError, match="row 'model' are not finite"):
        frozen_features(broken, loader(4), loader(4))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="needs one label"):
        made(labels=(0, 1))
    with pytest.raises(ValueError, match="wide"):
        made(reported={"model": torch.ones(4, 3)})
    with pytest.raises(ValueError, match="label -1"):
        made(labels=(0, 1, 0, -1))


def test_the_cache_holds_what_was_made_of_the_same_things(tmp_path):
    model, asked = small("crate_micro_patch4_32"), []

    def compute():
        asked.append(1)
        return frozen_features(model, loader(6), loader(5, seed=1))

    first = cached_features(tmp_path, {"model": "a", "layers": 1}, compute)
    again = cached_features(tmp_path, {"layers": 1, "model": "a"}, compute)
    assert len(asked) == 1
    for side in ("reference", "reported"):
        assert torch.equal(getattr(first, f"{side}_labels"), getattr(again, f"{side}_labels"))
        assert all(torch.equal(x, getattr(again, side)[row]) for row, x in getattr(first, side).items())
    cached_features(tmp_path, {"model": "b", "layers": 1}, compute)
    assert len(asked) == 2 and len(list(tmp_path.iterdir())) == 2
    cached_features(None, {"model": "a", "layers": 1}, compute)
    assert len(asked) == 3


@pytest.mark.parametrize("content", [b"", b"no tensors", "cut"], ids=["empty", "other", "cut"])
def test_a_damaged_cache_is_named(tmp_path, content):
    cached_features(tmp_path, {"model": "a"}, lambda: frozen_features(small(NAMES[0]), loader(6), loader(5)))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-8] if content == "cut" else content)
    with pytest.raises(ValueError, match=file.name):
        cached_features(tmp_path, {"model": "a"}, lambda: pytest.fail("computed again"))
