"""A ViT whose tokens read representatives keeps the promises of every model."""

import pytest
import torch

from crate_transformer.inspection import attention_maps, record
from crate_transformer.models import build_model

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 4}


@pytest.fixture
def model():
    return build_model("vit_tiny_patch16_224", **TINY, attention="agent").double()


def test_any_size_and_every_parameter(model):
    model(torch.randn(2, 3, 16, 32, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


@torch.no_grad()
def test_a_row_of_its_maps_is_what_the_token_reads_of_what_was_gathered(model):
    images = torch.randn(2, 3, 16, 32, dtype=torch.float64)
    with record(model, "blocks.1.attn.reading", "blocks.1.attn.coefficients") as seen:
        model(images)
    whole = seen["blocks.1.attn.reading"] @ seen["blocks.1.attn.coefficients"].mT
    torch.testing.assert_close(whole.sum(dim=-1), torch.ones(2, 2, 33, dtype=torch.float64))
    expected = whole[:, :, 0, 1:] / whole[:, :, 0, 1:].sum(dim=-1, keepdim=True)
    found = torch.from_numpy(attention_maps(model, images, layers=[1]).maps)[:, 0].flatten(2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_folding(model):
    images = torch.randn(2, 3, 16, 32, dtype=torch.float64)
    torch.testing.assert_close(model.eval().fold()(images), model(images), rtol=1e-12, atol=1e-12)
