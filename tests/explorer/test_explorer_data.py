"""What the page is given: the numbers of the models, as exactly as their bits allow."""

import base64
import json

import numpy as np
import pytest
import torch
from PIL import Image

from crate_transformer.data import normalise, pixels
from crate_transformer.explorer.collect import collect, num_steps
from crate_transformer.explorer.encoding import bitmap, quantised
from crate_transformer.explorer.views import Reference
from crate_transformer.inspection import layer_steps, record, reference_means, untrained_twin
from crate_transformer.models import build_model
from crate_transformer.storage import json_text, plain

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 6}
NAMES = (
    "crate_tiny_patch16_224",
    "crate_alpha_tiny_patch16_224",
    "vit_tiny_patch16_224",
    "tost_tiny_patch16_224",
    "crate_cbt_small_patch16_224",
    "hyper_set_512_patch14_224",
)


def model_called(name):
    model = build_model(name, **TINY).eval()
    model.class_names = ("ant", "bee", "cat", "dog", "eel", "fox")
    return model


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    sizes = ((40, 32), (32, 48))
    return [(f"{number}.png", Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)))
            for number, size in enumerate(sizes)]  # fmt: skip


def decoded(text, kind, *shape):
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def restored(part, bits, *shape):
    integers = decoded(part["values"], f"<i{bits // 8}", *shape).astype(np.float64)
    return integers * decoded(part["scales"], "<f4", *shape[:2]).astype(np.float64)[..., None]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_every_layer(name, bits, pictures):
    model, steps = model_called(name), []
    reference = Reference(name="noise", means=reference_means(model, torch.randn(3, 3, 32, 32)))
    data = collect({name: model}, pictures, title="a title", short_side=32, bits=bits, references={name: reference},
                   progress=steps.append)  # fmt: skip
    assert steps == list(range(1, num_steps({name: model}, 2) + 1))
    told = json.loads(json_text(plain(data)))  # as the page gets it
    (about,), prefix = told["models"], model.num_prefix_tokens
    assert (about["layers"], about["heads"], about["head_dim"], about["prefix"]) == (2, 2, 12, prefix)
    for picture, (_, image), grid in zip(told["pictures"], pictures, ((5, 4), (4, 6)), strict=True):
        assert (picture["height"], picture["width"]) == (grid[0] * 8, grid[1] * 8)
        (view,), tokens = picture["views"], prefix + grid[0] * grid[1]
        assert tuple(view["grid"]) == grid and len(view["layers"]) == 2
        fitted = normalise(
            pixels(image.resize((grid[1] * 8, grid[0] * 8), Image.Resampling.BICUBIC)), model.preprocessing
        )[None]
        with torch.no_grad(), record(model, "blocks.*.*.projection") as seen:
            model(fitted)
        for layer, values in zip(view["layers"], seen.values(), strict=True):
            exact = values[0].double().numpy()
            scale = np.abs(exact).max(axis=-1, keepdims=True) / (2 ** (bits - 1) - 1)
            assert (np.abs(restored(layer["features"], bits, 2, tokens, 12) - exact) <= 0.501 * scale + 1e-6).all()
            assert len(decoded(layer["colours"], np.uint8, grid[0] * grid[1], 3))
        steps_of = layer_steps(model, fitted, untrained=untrained_twin(model))
        np.testing.assert_allclose(view["rate_before"], steps_of.trained.rate_before[0], rtol=1e-4)
        assert (view["sparse_after"] is None) == (model.blocks[0].sparse_step is None)
        assert len(view["effects"]["zero"]) == 2 and view["effects"]["classes"][0] == view["top"][0][0]


def test_memberships_and_queries(pictures):
    tost, vit = model_called("tost_tiny_patch16_224"), model_called("vit_tiny_patch16_224")
    data = collect({"tost": tost, "vit": vit}, pictures[:1], title="two", short_side=32)
    views = data["pictures"][0]["views"]
    assert [model["compares"] for model in data["models"]] == ["membership", "pair"]
    found = decoded(views[0]["layers"][0]["membership"], "u1", 2, 20) / 255
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=2 / 255)
    assert views[1]["layers"][0]["queries"] and views[0]["layers"][0]["queries"] is None
    assert views[0]["effects"] is None


@pytest.mark.parametrize("energy", ["silu", "relu"])
def test_attention_without_maps(energy, pictures):
    model = build_model("hyper_set_512_patch14_224", **TINY, time_dim=4, attention=energy).eval()
    data = collect({"m": model}, pictures[:1], title="", short_side=32)
    assert data["models"][0]["compares"] == "nothing"
    for layer in data["pictures"][0]["views"][0]["layers"]:
        assert layer["features"] and layer["membership"] is layer["keys"] is layer["queries"] is None


def test_a_layer_that_compares_something_else_than_its_features(pictures):
    """MSSA in the first block, CBSA in the second: products of coefficients, divided by their sum."""
    model = model_called("crate_cbt_small_patch16_224")
    first, second = collect({"a": model}, pictures[:1], title="", short_side=32)["pictures"][0]["views"][0]["layers"]
    assert first["softmax"] and first["keys"] is first["queries"] is None
    assert not second["softmax"] and second["queries"] is None
    found = restored(second["keys"], 8, 2, 21, 64)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.05)


@pytest.mark.parametrize("name", NAMES[:2])
def test_the_strongest_atoms(name, pictures):
    model = model_called(name)
    data = collect({name: model}, pictures[:1], title="atoms", short_side=32)
    atoms = data["pictures"][0]["views"][0]["layers"][1]["atoms"]
    index, strength = decoded(atoms["index"], "<u2", 21, 8), restored(atoms["strength"], 8, 1, 21, 8)[0]
    assert (np.diff(strength, axis=1) <= 0).all() and index.max() < data["models"][0]["atoms"]["count"]
    code = f"blocks.1.{model.blocks[1].sparse_code}"
    image = pictures[0][1].resize((32, 40), Image.Resampling.BICUBIC)
    with torch.no_grad(), record(model, code) as seen:
        model(normalise(pixels(image), model.preprocessing)[None])
    expected = seen[code][0].topk(8, dim=-1).values.numpy()
    assert (np.abs(strength - expected) <= 0.501 * expected.max(axis=1, keepdims=True) / 127 + 1e-6).all()


def test_pictures_of_one_shape_go_through_the_model_together(pictures):
    model, sizes = model_called("crate_tiny_patch16_224"), []
    model.blocks[0].register_forward_pre_hook(lambda block, given: sizes.append(len(given[0])))
    mixed = [pictures[0], pictures[1], (pictures[0][0], pictures[0][1].rotate(180))]
    together = collect({"m": model}, mixed, title="", short_side=32)["pictures"]
    assert sizes[:3] == [3, 2, 2] and 1 in sizes, "classes of all three, then the two of one shape, then the other"
    for picture, shown in zip(mixed, together, strict=True):
        (alone,) = collect({"m": model}, [picture], title="", short_side=32)["pictures"]
        for name in ("rate_before", "rate_after", "nonzero", "sparse_after"):
            np.testing.assert_allclose(shown["views"][0][name], alone["views"][0][name], rtol=1e-4, err_msg=name)
        assert shown["source"] == alone["source"]
        assert [name for name, _ in shown["views"][0]["top"]] == [name for name, _ in alone["views"][0]["top"]]


def test_a_model_whose_numbers_are_not_finite(pictures):
    for classes, told in ((6, "the outputs of the model are not finite"), (0, "the model's features are not finite")):
        broken = build_model("crate_tiny_patch16_224", **TINY | {"num_classes": classes}).eval()
        torch.nn.init.constant_(broken.blocks[0].norm1.weight, float("nan"))
        with pytest.raises(ValueError, match=told):
            collect({"m": broken}, pictures, title="", short_side=32)


def test_tokens_of_zeros_and_masks():
    found = quantised(np.zeros((1, 2, 3)), 8)
    assert not decoded(found["values"], "i1", 6).any() and not decoded(found["scales"], "<f4", 2).any()
    mask = np.zeros((3, 3), dtype=bool)
    mask[0, 0] = mask[2, 2] = True
    assert list(base64.b64decode(bitmap(mask))) == [0b10000000, 0b10000000]


def test_what_cannot_be_shown(pictures):
    model = model_called("crate_tiny_patch16_224")
    with pytest.raises(ValueError, match="there are 3 models: the page shows one, or two beside each other"):
        collect(dict.fromkeys("abc", model), pictures, title="", short_side=32)
    with pytest.raises(ValueError, match="there are no pictures to show"):
        collect({"a": model}, [], title="", short_side=32)
