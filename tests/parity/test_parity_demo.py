"""The demo checkpoint: plain behaviour by default, the released one by name, against the official code."""

import pytest
import torch
from agreement import agree
from einops import rearrange

from crate_transformer.checkpoints import load_checkpoint, released_demo


@pytest.fixture(params=[(torch.float32, ""), (torch.float64, "_float64")], ids=["float32", "float64"])
def precision(request):
    return request.param


def look(model, images):
    """Attention maps of all layers and the last layer's projection, by plain hooks."""
    maps, features, handles = {}, [], []
    for index, block in enumerate(model.blocks):
        handles.append(block.mssa.attention.register_forward_hook(lambda _, a, out, i=index: maps.update({i: out})))
    last = model.blocks[-1].mssa.projection
    handles.append(
        last.register_forward_hook(lambda _, a, out: features.append(rearrange(out, "b h n p -> b n (h p)")))
    )
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return maps, features[0]


def test_plain_behaviour(golden, precision):
    dtype, suffix = precision
    expected = golden.tensors("crate-demo", "crate_demo")
    path, images = golden.path("crate-demo", "crate_demo"), expected["input.24x24"].to(dtype)
    model = load_checkpoint(path).to(dtype)
    assert model.config.num_heads == 6
    assert set(model.provenance.dropped) == {"head.weight", "head.bias"}
    maps, features = look(model, images)
    agree(maps[2], expected[f"native.attention_no_interpolation{suffix}"])
    agree(features, expected[f"native.features_no_interpolation{suffix}"])
    with torch.no_grad():
        agree(model(images), expected[f"native.mlp_head{suffix}"])
        folded = load_checkpoint(path, num_classes=21).to(dtype)
        # the folded product is stored in float32
        agree(folded(images).float(), expected[f"native.head{suffix}"])


@pytest.mark.parametrize("size", ["24x24", "40x40", "48x32"])
def test_released_behaviour(golden, precision, size):
    dtype, suffix = precision
    expected = golden.tensors("crate-demo", "crate_demo")
    height, width = map(int, size.split("x"))
    plain = load_checkpoint(golden.path("crate-demo", "crate_demo")).to(dtype)
    model = released_demo(plain, height, width)
    maps, features = look(model, expected[f"input.{size}"].to(dtype))
    agree(model.pos_embed, expected[f"{size}.pos_embedding{suffix}"])
    for layer in (1, 2):
        agree(maps[layer], expected[f"{size}.attention.layer{layer}{suffix}"])
    agree(features[:, 1:], expected[f"{size}.features{suffix}"][0])
    assert plain.img_size == (24, 24)
    assert not torch.equal(plain.pos_embed, model.pos_embed)


def test_a_class_count_of_neither_head_is_refused(golden):
    with pytest.raises(ValueError, match="num_classes=7 matches neither of the heads"):
        load_checkpoint(golden.path("crate-demo", "crate_demo"), num_classes=7)
