"""A trained model takes patches of another size: its embedding and what predicts pixels are interpolated."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.models import build_model

SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2}
NAMES = ("crate_micro_patch4_32", "crate_alpha_mini_patch8_64", "crate_mae_micro_patch4_32", "vit_micro_patch4_32")


def smooth(size, batch=3):
    return F.interpolate(torch.randn(batch, 3, 4, 4), (2 * size, 2 * size), mode="bicubic")[..., :size, :size]


@pytest.mark.parametrize("name", NAMES)
def test_there_and_in_the_checkpoint(name, tmp_path):
    model = build_model(name, **SMALL).eval()
    before = model(torch.randn(1, 3, 16, 16)).shape
    model.set_input_size(18, 3)
    assert (model.img_size, model.patch_size, model.preprocessing.img_size) == ((18, 18), (3, 3), (18, 18))
    images = torch.randn(2, 3, 18, 18)
    logits = model(images)
    assert logits.shape[1:] == before[1:]
    save_checkpoint(model, tmp_path)
    again = load_checkpoint(tmp_path)
    torch.testing.assert_close(again(images), logits)
    if hasattr(model, "reconstruct"):
        noise = torch.rand(2, 36)
        torch.testing.assert_close(
            again.reconstruct(images, noise=noise).loss, model.reconstruct(images, noise=noise).loss
        )


def test_the_same_size_changes_nothing():
    model = build_model(NAMES[0], **SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.set_input_size(16, (4, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_smaller_patches_of_a_smaller_picture_give_nearly_the_same_tokens():
    """The kernel is as smooth as the picture here; the norm behind it takes out the sum over fewer pixels."""
    embed = build_model(NAMES[0], **SMALL | {"patch_size": 8, "img_size": 32}).patch_embed
    with torch.no_grad():
        kernel = F.interpolate(torch.randn(24, 3, 3, 3), (8, 8), mode="bicubic")
        embed.proj.weight.copy_(kernel.permute(0, 2, 3, 1).flatten(1))
        large = smooth(32)
        before = embed(large)
        embed.resize_((4, 4))
        after = embed(F.interpolate(large, (16, 16), mode="bilinear", antialias=True))
    assert F.cosine_similarity(before, after, dim=-1).min() > 0.9


def test_what_fits_one_size_only():
    model = build_model("tost_tiny_patch16_224", **SMALL | {"patch_size": 8, "embed_dim": 32})
    with pytest.raises(ValueError, match=r"a convolutional stem for patches of \(8, 8\) cannot change to \(4, 4\)"):
        model.set_input_size(patch_size=4)
    assert model.patch_size == (8, 8)
    model.set_input_size(24, 8)
    with pytest.raises(ValueError, match="img_size 24 is not a multiple of patch_size 5"):
        build_model(NAMES[0], **SMALL | {"img_size": 24}).set_input_size(patch_size=5)
    assert dataclasses.asdict(model.config)["img_size"] == 24
