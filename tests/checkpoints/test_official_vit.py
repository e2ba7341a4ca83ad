"""ViTs as DINO, DINOv2 and SimDINO store them: every name is known, and every fault is one sentence."""

import argparse

import pytest
import torch

from crate_transformer.checkpoints import load_checkpoint
from crate_transformer.checkpoints.official_vit import renamings
from crate_transformer.models import build_model

TOY = {"img_size": 12, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 0}


def toy(**changes):
    torch.manual_seed(0)
    model = build_model("vit_tiny_patch16_224", **{**TOY, **changes}).eval()
    if model.num_reg_tokens:
        model.pos_embed.data[:, 1 : model.num_prefix_tokens] = 0  # DINOv2's registers have no position
    return model


def dino(model):
    """The tensors with DINO's names."""
    config = model.config
    table = renamings(config.depth, registers=False, head=config.num_classes > 0, scales=config.layer_scale > 0)
    tensors = {key: model.state_dict()[own] for key, own in table.items()}
    if model.num_reg_tokens:
        tensors["register_tokens"] = model.reg_token.detach()
        tensors["pos_embed"] = torch.cat([model.pos_embed[:, :1], model.pos_embed[:, model.num_prefix_tokens :]], 1)
    return {key: tensor.detach() for key, tensor in tensors.items()}


def same(loaded, model, **assumed):
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert loaded.config == model.config and loaded.preprocessing.interpolation == "bicubic"
    assert loaded.provenance.assumed.items() >= assumed.items()


def test_weights_of_dino(tmp_path):
    model = toy(num_classes=5)
    torch.save(dino(model), tmp_path / "dino.pth")
    same(load_checkpoint(tmp_path / "dino.pth", num_heads=3), model, global_pool="token", attention="softmax")


def test_the_heads_of_published_sizes_are_assumed(tmp_path):
    model = toy(embed_dim=192)
    torch.save(dino(model), tmp_path / "dino.pth")
    loaded = load_checkpoint(tmp_path / "dino.pth")
    same(loaded, model, num_heads=3, attention="softmax")
    assert "num_heads" not in loaded.provenance.inferred


def test_weights_of_dinov2_with_registers(tmp_path):
    model = toy(reg_tokens=4, layer_scale=1e-5)
    torch.save(dino(model) | {"mask_token": torch.zeros(1, 12)}, tmp_path / "dinov2.pth")
    loaded = load_checkpoint(tmp_path / "dinov2.pth", num_heads=3)
    same(loaded, model, layer_scale=1e-5)
    assert loaded.provenance.dropped == {"mask_token": "only for pre-training with masked patches"}


def test_scales_are_folded_into_the_branches():
    model, images = toy(layer_scale=0.5), torch.randn(2, 3, 12, 16)
    for block in model.blocks:
        for scale in (block.scale1, block.scale2):
            scale.gamma.data.normal_()
    with torch.no_grad():
        torch.testing.assert_close(model.fold()(images), model(images), rtol=1e-4, atol=1e-5)


def test_training_checkpoint_of_simdino(tmp_path):
    model = toy()
    heads = {"head.mlp.0.weight": torch.ones(4, 12), "head.mlp.0.bias": torch.ones(4)}
    teacher = {f"_orig_mod.{key}": tensor for key, tensor in heads.items()}
    teacher |= {f"_orig_mod.backbone.{key}": tensor for key, tensor in dino(model).items()}
    student = {key.replace("_orig_mod.", "_orig_mod.module."): -tensor for key, tensor in teacher.items()}
    other = {"epoch": 3, "args": argparse.Namespace(arch="vit"), "dino_loss": {"center": torch.zeros(1, 4)}}
    torch.save({"student": student, "teacher": teacher, **other}, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="several sets of weights, 'student', 'teacher', 'dino_loss': choose one"):
        load_checkpoint(tmp_path / "checkpoint.pth", num_heads=3)
    loaded = load_checkpoint(tmp_path / "checkpoint.pth", num_heads=3, weights="teacher")
    same(loaded, model)
    assert set(loaded.provenance.dropped) == set(heads) and loaded.provenance.metadata["epoch"] == 3
    student = load_checkpoint(tmp_path / "checkpoint.pth", num_heads=3, weights="student")
    assert torch.equal(student.cls_token, -model.cls_token)


def test_teacher_of_simdinov2_in_groups_of_blocks(tmp_path):
    model = toy(layer_scale=1e-5)
    grouped = {f"backbone.{key.replace('blocks.', 'blocks.1.')}": tensor for key, tensor in dino(model).items()}
    heads = {"dino_head.mlp.0.weight": torch.ones(4, 12), "ibot_head.mlp.0.weight": torch.ones(4, 12)}
    torch.save({"teacher": grouped | heads}, tmp_path / "teacher_checkpoint.pth")
    same(load_checkpoint(tmp_path / "teacher_checkpoint.pth", num_heads=3), model)


def test_every_missing_tensor_and_every_wrong_shape_is_named(tmp_path):
    tensors, file = dino(toy(num_classes=5, depth=2, layer_scale=1e-5)), tmp_path / "dino.pth"
    for key, tensor in tensors.items():
        if ".1." in key:
            continue
        wrong = tensors | {key: torch.cat([tensor, tensor])}
        for content in ({name: value for name, value in tensors.items() if name != key}, wrong):
            if content is wrong and key == "head.weight":  # decides the number of classes, so the bias is named
                continue
            torch.save(content, file)
            with pytest.raises(ValueError) as error:
                load_checkpoint(file, num_heads=3)
            assert repr(key) in str(error.value), (key, str(error.value))


@pytest.mark.parametrize(
    ("change", "hints", "sentence"),
    [
        ({}, {}, "embed_dim 12 with depth 3 is not a published size: give num_heads="),
        ({}, {"num_heads": 5}, "num_heads=5 does not divide the 12 rows"),
        ({}, {"num_heads": 3, "img_size": 16}, "img_size=16 does not give the 9 patches"),
        ({}, {"num_heads": 3, "patch_size": 2}, "patch_size=2 contradicts the tensors, which say 4"),
        ({"rope_embed.periods": torch.ones(4)}, {"num_heads": 3}, "tensor 'rope_embed.periods' is unknown"),
        ({"decoder_embed.weight": torch.ones(4)}, {"num_heads": 3}, "tensor 'decoder_embed.weight' is unknown"),
        ({"fc_norm.weight": torch.ones(12)}, {"num_heads": 3}, "this ViT needs the mean of the patches without"),
        ({"blocks.0.mlp.w12.weight": torch.ones(2, 2)}, {"num_heads": 3}, "this ViT needs feed-forward layers"),
        (
            {"reg_token": torch.ones(12)},
            {"num_heads": 3},
            r"the registers have shape \(12,\), expected \(1, registers, 12\)",
        ),
        ({"backbone.cls_token": torch.ones(1, 1, 12)}, {"num_heads": 3}, "it contains two sets of weights"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_loaded_is_one_sentence(tmp_path, change, hints, sentence):
    torch.save(dino(toy()) | change, tmp_path / "dino.pth")
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(tmp_path / "dino.pth", **hints)
