"""What transformers stores beside a ViT is used, and what our ViT cannot do is refused."""

import json

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.checkpoints.transformers_vit import renamings
from crate_transformer.models import build_model

TOY = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 4, "num_classes": 2}
CONFIG = {
    "model_type": "vit", "hidden_act": "gelu", "num_attention_heads": 4, "layer_norm_eps": 1e-12, "image_size": 16,
    "id2label": {"0": "cat", "1": "dog"},
}  # fmt: skip
PROCESSOR = {
    "do_resize": True, "size": {"height": 16, "width": 16}, "resample": 2, "do_rescale": True, "do_normalize": True,
    "rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip


def tensors():
    """The tensors of a ViT with the names of transformers."""
    model = build_model("vit_tiny_patch16_224", **TOY)
    dino = {key.replace("attn.out", "attn.proj"): tensor for key, tensor in model.state_dict().items()}
    for end in ("weight", "bias"):
        parts = dino.pop(f"blocks.0.attn.qkv.{end}").chunk(3)
        dino |= {f"blocks.0.attn.{letter}.{end}": part for letter, part in zip("qkv", parts, strict=True)}
    table = renamings(1, {"classifier.weight", "classifier.bias"})
    return {key: dino[own].clone() for key, own in table.items()}


@pytest.fixture
def write(tmp_path):
    def write(config=CONFIG, processor=PROCESSOR, weights="model.safetensors"):
        (tmp_path / "config.json").write_text(json.dumps(config))
        if processor:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
        if weights:
            (save_file if weights.endswith("safetensors") else torch.save)(tensors(), tmp_path / weights)
        return tmp_path

    return write


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_stored_is_used(write, weights, whole, tmp_path):
    folder = write(weights=weights)
    model = load_checkpoint(folder if whole else folder / weights)
    assert model.config.num_heads == 4 and model.class_names == ("cat", "dog")
    assert {part.eps for part in model.modules() if isinstance(part, torch.nn.LayerNorm)} == {1e-12}
    seen, assumed = model.preprocessing, model.provenance.assumed
    assert (seen.mean, seen.std, seen.interpolation, seen.crop_pct) == ((0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
    assert "crop" in assumed and not {"mean", "std", "norm_eps", "num_heads", "interpolation"} & assumed.keys()
    again = load_checkpoint(save_checkpoint(model, tmp_path / "saved"))
    assert again.config == model.config and again.blocks[0].norm1.eps == 1e-12


def test_weights_in_several_files(write):
    folder = write(weights=None)
    save_torch_state_dict(tensors(), str(folder), max_shard_size=3_000)
    assert len(list(folder.glob("*.safetensors"))) > 1
    for place in (folder, folder / "model.safetensors.index.json"):
        model = load_checkpoint(place)
        assert model.config.num_heads == 4 and model.class_names == ("cat", "dog")


def test_a_crop_as_of_dinov2(write):
    size = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 24, "width": 24}}
    model = load_checkpoint(write(processor=PROCESSOR | size))
    assert model.preprocessing.img_size == (24, 24) and model.preprocessing.crop_pct == 0.75
    assert "crop" not in model.provenance.assumed


def test_without_a_processor_its_values_are_assumed(write):
    model = load_checkpoint(write(processor=None))
    assert {"mean", "std", "crop_pct", "interpolation"} <= model.provenance.assumed.keys()


@pytest.mark.parametrize(
    ("changes", "hints", "sentence"),
    [
        ({}, {"num_heads": 2}, "num_heads=2 contradicts config.json, which says 4"),
        ({"config": CONFIG | {"hidden_act": "relu"}}, {}, "the activation is relu, but our ViT has only gelu"),
        ({"config": CONFIG | {"id2label": {"0": "cat"}}}, {}, "id2label has 1 names for 2 classes"),
        ({"config": {"model_type": "crate", "family": "CRATE"}}, {}, "convert it back with from_transformers"),
        ({"config": CONFIG | {"num_attention_heads": "4"}}, {}, "config.json is not valid"),
        ({"processor": PROCESSOR | {"resample": 1}}, {}, "resample is 1, but only 2 .bilinear. and 3"),
        ({"processor": PROCESSOR | {"rescale_factor": 1.0}}, {}, "pixels must be divided by 255"),
        ({"processor": PROCESSOR | {"do_flip_channel_order": True}}, {}, "the channels must be red, green and blue"),
        ({"processor": PROCESSOR | {"image_mean": None}}, {}, "image_mean or image_std is missing"),
        ({"processor": PROCESSOR | {"size": 20}}, {}, r"gives \(20, 20\) pixels, no multiple of \(8, 8\)"),
        ({"weights": None}, {}, "has no weights: expected one of model.safetensors, "),
    ],
)
def test_what_cannot_be_is_one_sentence(write, changes, hints, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(write(**changes), **hints)
