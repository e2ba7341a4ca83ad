"""Tokens made by convolutions with pooling instead of one linear map of a patch."""

import pytest
import torch
import torch.nn.functional as F

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint, save_official
from crate_transformer.layers import PooledStem
from crate_transformer.models import build_model

NAMES = ("crate_micro_conv_patch4_32", "vit_micro_conv_patch4_32")
SMALL = {"depth": 2, "embed_dim": 16, "num_heads": 2, "num_classes": 5}


def test_a_token_is_a_maximum_of_convolutions_around_its_patch():
    stem = PooledStem((4, 4), 3, 8).double()
    images = torch.randn(2, 3, 12, 8, dtype=torch.float64)
    x = images
    for conv in stem.convs:
        x = F.pad(F.conv2d(F.pad(x, (1, 1, 1, 1)), conv.weight).clamp(min=0), (1, 1, 1, 1), value=-torch.inf)
        x = x.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(-2, -1))
    torch.testing.assert_close(stem(images), x.flatten(2).mT, rtol=0, atol=1e-12)
    assert stem(images).shape == (2, 6, 8) and [conv.out_channels for conv in stem.convs] == [64, 8]


@pytest.mark.parametrize("patch", [(3, 3), (1, 1), (4, 8)])
def test_patches_that_no_halving_makes(patch):
    with pytest.raises(ValueError, match="needs a square of 2, 4, 8, 16"):
        PooledStem(patch, 3, 8)


@pytest.mark.parametrize("name", NAMES)
def test_at_most_a_million_parameters(name):
    assert 750_000 < sum(p.numel() for p in build_model(name, num_classes=10).parameters()) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_folds_resizes_and_travels(name, tmp_path):
    model = build_model(name, **SMALL)
    images = torch.randn(2, 3, 24, 32)
    model(images).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    model.eval()
    again = load_checkpoint(save_checkpoint(model, tmp_path / "saved"))
    assert again.config.stem == "conv" and torch.equal(again(images), model(images))
    torch.testing.assert_close(model.fold()(images), model(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="cannot change to"):
        model.set_input_size(patch_size=8)


@pytest.mark.usefixtures("unchecked")
def test_where_there_is_no_such_stem(tmp_path):
    for name, told in (("crate_mae_mini_patch8_64", "predicts whole patches"), ("tost_tiny_patch16_224", "no option")):
        with pytest.raises(ValueError, match=told):
            build_model(name, stem="conv")
    with pytest.raises(ValueError, match="stem is 'fourier': choose 'patch' or 'conv'"):
        build_model(NAMES[0], stem="fourier")
    with pytest.raises(ValueError, match="cannot store the tensor 'patch_embed\\.convs"):
        save_official(build_model(NAMES[0], **SMALL), tmp_path / "official.pth")
