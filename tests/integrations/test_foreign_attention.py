"""Attention maps of ViTs of timm and transformers, whose tokens before the patches differ."""

import numpy as np
import pytest
import torch

from crate_transformer.inspection import attention_maps, attention_rollout
from crate_transformer.inspection.projection import patch_features


def over_patches(rows):
    return (rows / rows.sum(dim=-1, keepdim=True)).unflatten(-1, (4, 8)).numpy()


class ForeignViT(torch.nn.Module):
    """One block that projects to queries and keys, with timm's names and four tokens before the patches."""

    num_prefix_tokens = 4

    def __init__(self, *tokens):
        super().__init__()
        self.patch_embed = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.patch_embed.patch_size = (4, 4)
        for name, count in tokens:
            setattr(self, name, torch.nn.Parameter(torch.randn(1, count, 8)))
        self.tokens = tokens
        block = torch.nn.Module()
        block.attn = torch.nn.Module()
        block.attn.num_heads, block.attn.q_norm, block.attn.k_norm = 1, torch.nn.Identity(), torch.nn.Identity()
        self.blocks = torch.nn.ModuleList([block])

    def forward_features(self, images):
        prefix = [getattr(self, name).expand(len(images), -1, -1) for name, _ in self.tokens]
        z = torch.cat([*prefix, self.patch_embed(images).flatten(2).mT], dim=1)[:, None]
        return self.blocks[0].attn.q_norm(z), self.blocks[0].attn.k_norm(z)


def test_a_register_is_not_the_class_token():
    images = torch.randn(1, 3, 16, 16)
    both, registers = ForeignViT(("cls_token", 1), ("reg_token", 3)), ForeignViT(("reg_token", 4))
    assert attention_maps(both, images).query == "class token"
    for ask in (attention_maps, attention_rollout):
        with pytest.raises(ValueError, match=r"the model has no class token: give a patch as \(row, column\)"):
            ask(registers, images)
    assert attention_maps(registers, images, query=(0, 1)).maps.shape == (1, 1, 1, 4, 4)


def test_a_vit_of_transformers_is_read_by_its_linear_maps():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=4,
        attn_implementation="eager",
    )
    model, images = transformers.ViTModel(config).eval(), torch.randn(2, 3, 16, 32)
    with torch.inference_mode():
        seen = model(images, output_attentions=True, interpolate_pos_encoding=True).attentions
    patches = torch.stack(seen, dim=1)[..., 1:]
    for query, token in (("cls", 0), ((1, 2), 11)):
        found = attention_maps(model, images, query=query).maps
        np.testing.assert_allclose(found, over_patches(patches[..., token, :]), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "prefix", "refusal"),
    [
        ("DeiT", {}, 2, None),
        ("SiglipVision", {}, 0, None),
        ("Dinov2WithRegisters", {"num_register_tokens": 3}, 4, None),
        ("Yolos", {"num_detection_tokens": 4, "image_size": [16, 16]}, 1, "YolosModel has 21 tokens for 4 x 4 patches"),
        ("ViTMAE", {"mask_ratio": 0.0}, 1, "ViTMAEModel shuffles and hides patches"),
        ("Beit", {"use_relative_position_bias": True}, 1, "the queries and keys of BeitModel cannot be read"),
    ],
)
def test_tokens_that_are_no_patches_are_left_out_or_the_model_is_refused(kind, options, prefix, refusal):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
             "image_size": 16, "patch_size": 4}  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes | options, attn_implementation="eager")
    model, images = getattr(transformers, f"{kind}Model")(config).eval(), torch.randn(2, 3, 16, 16)
    if refusal:
        for read in (attention_maps, attention_rollout, patch_features):
            with pytest.raises(ValueError, match=refusal):
                read(model, images)
        return
    with torch.inference_mode():
        seen = model(images, output_attentions=True).attentions
    rows = torch.stack(seen, dim=1)[..., prefix + 6, prefix:].unflatten(-1, (4, 4))
    expected = (rows / rows.sum(dim=(-2, -1), keepdim=True)).numpy()
    np.testing.assert_allclose(attention_maps(model, images, query=(1, 2)).maps, expected, atol=1e-5)
    assert patch_features(model, images).features.shape == (2, 4, 4, 12)


def test_a_vit_of_timm_is_read_by_its_norms(timm):
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2, dynamic_img_size=True
    ).eval()
    images, maps = torch.randn(2, 3, 16, 32), []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, args, output: maps.append(output))
    with torch.inference_mode():
        model(images)
    patches = torch.stack(maps, dim=1)[..., 1:]
    found = attention_maps(model, images, query=(0, 3)).maps
    np.testing.assert_allclose(found, over_patches(patches[..., 4, :]), atol=1e-5)
