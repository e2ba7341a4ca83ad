"""Official CRATE-MAE files: inference, hints, and everything that can be wrong with them."""

import argparse
import dataclasses

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint, official_crate_mae
from crate_transformer.checkpoints.official_crate_mae import recognises
from crate_transformer.cli.checkpoint import Checkpoint
from crate_transformer.models import CRATEMAE, CRATEMAEConfig

TOY = CRATEMAEConfig(img_size=16, patch_size=4, embed_dim=12, depth=2, decoder_depth=2, num_heads=3)
ROWS = (official_crate_mae.RENAMED_IN_LAYER, official_crate_mae.RENAMED_IN_DECODER_LAYER)


def official(config):
    """The dictionary ``model`` as the official code stores it."""
    state = CRATEMAE(config).state_dict()
    table = dict(official_crate_mae.RENAMED)
    for rows, depth in zip(ROWS, (config.depth, config.decoder_depth), strict=True):
        table |= {key.format(l=layer): own.format(l=layer) for layer in range(depth) for key, own in rows.items()}
    dim = config.embed_dim
    unused = {
        "pos_embed": state["pos_embed"].clone(),
        "decoder_embed.weight": torch.zeros(dim, dim),
        "decoder_embed.bias": torch.zeros(dim),
    }
    return {key: state[own] for key, own in table.items()} | unused


@pytest.fixture
def write(tmp_path):
    def write(content, name="checkpoint-799.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def test_the_whole_of_a_released_file(write):
    tensors = official(TOY)
    rest = {"optimizer": {"state": {}}, "epoch": 799, "scaler": {}, "args": argparse.Namespace(model="mae_crate_base")}
    file = write({"model": tensors, **rest})
    for model in (load_checkpoint(file, num_heads=3), load_checkpoint(write(tensors, "bare.pth"), num_heads=3)):
        assert model.config == TOY
        assert not model.training
        assert torch.equal(
            model.decoder.blocks[1].synthesis.dictionary, tensors["decoder_blocks.1.layers.0.0.fn.weight"]
        )
        assert (model.norm.eps, model.decoder.norm.eps, model.blocks[0].norm1.eps) == (1e-6, 1e-6, 1e-5)
    provenance = load_checkpoint(file, num_heads=3).provenance
    sizes = {"patch_size": 4, "img_size": 16, "in_chans": 3, "num_classes": 0}
    assert provenance.inferred == {"embed_dim": 12, "depth": 2, "decoder_depth": 2} | sizes
    assert provenance.assumed == {"step_size": 0.1, "sparsity_weight": 0.5, "normalise_pixels": False}
    assert set(provenance.dropped) == {"pos_embed", "decoder_embed.weight", "decoder_embed.bias"}
    assert "not used by the official code" in str(provenance)
    assert provenance.metadata["epoch"] == 799


def test_tensors_that_nothing_uses_need_not_be_there(write):
    tensors = {key: tensor for key, tensor in official(TOY).items() if key not in official_crate_mae.DROPPED}
    model = load_checkpoint(write(tensors), num_heads=3)
    assert model.config == TOY
    assert not model.provenance.dropped


def test_the_golden_files_say_what_they_are(shared):
    folder = shared / "golden" / "crate-mae"
    model = load_checkpoint(folder / "mae_lambda5.0-checkpoint-799.pth", num_heads=2, sparsity_weight=5.0)
    assert type(model) is CRATEMAE
    assert model.blocks[0].ista.sparsity_weight == 5.0
    assert "sparsity_weight" not in model.provenance.assumed
    file = str(folder / "mae_lambda5.0-checkpoint-799.pth")
    assert Checkpoint(checkpoint=file, num_heads=2, sparsity_weight=5.0).load().config == model.config
    torch.testing.assert_close(model.pos_embed, CRATEMAE(model.config).pos_embed, rtol=0, atol=1e-6)


def test_a_published_size_needs_no_hint(write):
    config = dataclasses.replace(TOY, embed_dim=384, depth=12, num_heads=6, decoder_depth=1)
    model = load_checkpoint(write(official(config)))
    assert model.config == config
    assert model.provenance.inferred["num_heads"] == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"sparsity_weight": 5.0, "step_size": 0.2},
        {"normalise_pixels": True},
        {"global_pool": "avg"},
        {"img_size": (8, 20)},
        {"img_size": (12, 8), "patch_size": (4, 2)},
    ],
)
def test_hints_settle_what_tensors_do_not(write, changes):
    config = dataclasses.replace(TOY, **changes)
    assert load_checkpoint(write(official(config)), num_heads=3, **changes).config == config


@pytest.mark.parametrize(
    "changes", [{"in_chans": 1}, {"decoder_depth": 1}, {"patch_size": (8, 4), "img_size": (16, 8)}]
)
def test_what_the_tensors_tell_needs_no_hint(write, changes):
    config = dataclasses.replace(TOY, **changes)
    assert load_checkpoint(write(official(config)), num_heads=3).config == config


@pytest.mark.parametrize(
    ("hints", "sentence"),
    [
        ({}, "embed_dim 12 with depth 2 is not a published size: give num_heads="),
        ({"num_heads": 5}, "num_heads=5 does not divide the 12 rows"),
        ({"num_heads": 0}, "num_heads=0 does not divide"),
        ({"num_heads": 1}, "num_heads=1 contradicts the tensors"),
        ({"num_heads": "3"}, "num_heads='3' is not a valid number"),
        ({"num_heads": 3, "lambd": 5.0}, "'lambd' is not an option of this model; its options are .*sparsity_weight"),
        ({"num_heads": 3, "embed_dim": 13}, "embed_dim=13 contradicts the tensors, which say 12"),
        ({"num_heads": 3, "decoder_depth": 4}, "decoder_depth=4 contradicts the tensors, which say 2"),
        ({"num_heads": 3, "num_classes": 10}, "num_classes=10 contradicts the tensors, which say 0"),
        ({"num_heads": 3, "patch_size": 8}, "patch_size=8 contradicts the tensors, which say 4"),
        ({"num_heads": 3, "in_chans": 1}, "in_chans=1 contradicts the tensors, which say 3"),
        ({"num_heads": 3, "img_size": 20}, "img_size=20 does not give the 16 patches of 4 x 4"),
    ],
)
def test_wrong_or_missing_hints(write, hints, sentence):
    file = write(official(TOY))
    with pytest.raises(ValueError, match=sentence) as error:
        load_checkpoint(file, **hints)
    assert str(error.value).startswith(f"{file}: ")


def test_every_missing_broken_or_misshapen_tensor_is_named(write):
    tensors = official(dataclasses.replace(TOY, depth=1, decoder_depth=1))
    for key, tensor in tensors.items():
        if key in official_crate_mae.DROPPED:
            continue
        with pytest.raises(ValueError, match=f"tensor '{key}' is missing"):
            load_checkpoint(write({k: v for k, v in tensors.items() if k != key}), num_heads=3)
        with pytest.raises(ValueError, match=f"tensor '{key}' contains values that are not finite"):
            load_checkpoint(write(tensors | {key: torch.full_like(tensor, float("nan"))}), num_heads=3)
        with pytest.raises(ValueError) as error:  # kernel and positions are what tells the sizes of pictures
            load_checkpoint(write(tensors | {key: torch.cat([tensor, tensor], dim=-1)}), num_heads=3)
        assert key in str(error.value) or key in ("decoder_pos_embed", "patch_embed.proj.weight")
        for wrong in (torch.tensor(1.0), tensor[:0]):
            with pytest.raises(ValueError):
                load_checkpoint(write(tensors | {key: wrong}), num_heads=3)


@pytest.mark.parametrize("key", ["extra", "blocks.7.layers.0.0.norm.weight", "head.weight", "blocks.0.norm1.weight"])
def test_an_unknown_tensor_is_named(write, key):
    with pytest.raises(ValueError, match=r"tensor '(extra|blocks\.[\w.]+|head\.weight)' is (unknown|missing)") as error:
        load_checkpoint(write(official(TOY) | {key: torch.zeros(12)}), num_heads=3)
    assert key in str(error.value) or "blocks.7" in key


def test_a_vit_mae_is_not_taken_for_one():
    assert not recognises({"mask_token", "blocks.0.attn.qkv.weight", "decoder_blocks.0.attn.qkv.weight"})
