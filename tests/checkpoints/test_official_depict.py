"""The official checkpoint of DEPICT: every fault names its tensor."""

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, save_official
from crate_transformer.checkpoints.official_depict import renamings
from crate_transformer.models import DEPICTConfig, Segmenter, SegmenterConfig, build_model

HINTS = {"num_heads": 2}


def official(attention):
    """A model of the released sizes of heads, and its tensors by official names."""
    backbone = build_model("vit_micro_patch4_32", img_size=16, depth=1, embed_dim=8, num_heads=2, norm_eps=1e-5)
    decoder = DEPICTConfig(
        num_classes=3, attention=attention, depth=1, num_heads=1, cross_depth=1 if attention == "cross" else 3
    )
    model = Segmenter(SegmenterConfig(backbone=backbone.config, decoder=decoder), backbone).eval()
    names = {own: key for key, own in renamings(1, 1, int(attention == "cross")).items()}
    return model, {names[own]: tensor for own, tensor in model.state_dict().items()}


@pytest.fixture
def write(tmp_path):
    def write(tensors):
        torch.save({"model": tensors, "n_cls": 3, "epoch": 1}, tmp_path / "checkpoint.pth")
        return tmp_path / "checkpoint.pth"

    return write


@pytest.mark.parametrize("attention", ["self", "cross"])
def test_it_is_read_and_what_is_not_applied_is_dropped(write, attention):
    model, tensors = official(attention)
    loaded = load_checkpoint(write(tensors | {"encoder.head.weight": torch.ones(5, 8)}), **HINTS)
    assert loaded.config == model.config and list(loaded.provenance.dropped) == ["encoder.head.weight"]
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5) and loaded.provenance.assumed["norm_eps"] == 1e-5
    with pytest.raises(ValueError, match="Segmenter has no official format"):
        save_official(loaded, "depict.pth")


@pytest.mark.parametrize("attention", ["self", "cross"])
def test_every_missing_tensor_and_every_wrong_shape_is_named(write, attention):
    _, tensors = official(attention)
    for key, tensor in tensors.items():
        with pytest.raises(ValueError, match=f"tensor '{key}' is missing"):
            load_checkpoint(write({name: t for name, t in tensors.items() if name != key}), **HINTS)
        if key.endswith("fn.proj") or "fc1" in key or key == "encoder.pos_embed" or "mask_norm" in key:
            continue  # sizes with too few witnesses
        with pytest.raises(ValueError, match=key.replace(".", r"\.")):
            load_checkpoint(write(tensors | {key: torch.cat([tensor, tensor])}), **HINTS)


@pytest.mark.parametrize(
    ("hints", "sentence"),
    [
        (
            {},
            "the number of heads cannot be inferred from the tensors, and embed_dim 8 with depth 1 is not a published",
        ),
        ({"num_heads": 3}, "num_heads=3 does not divide the 8 rows"),
        ({"num_heads": 2, "num_classes": 4}, "num_classes=4 contradicts the tensors, which say 3"),
        ({"num_heads": 2, "depth": 3}, "depth=3 contradicts the tensors, which say 1"),
        ({"num_heads": 2, "img_size": 20}, "img_size=20 does not give the 16 patches"),
    ],
)
def test_wrong_hints(write, hints, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(write(official("self")[1]), **hints)
