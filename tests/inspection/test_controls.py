"""Untrained models are fair controls: they see the image."""

import pytest
import torch

from crate_transformer.data import digits, normalise
from crate_transformer.inspection import untrained_twin
from crate_transformer.models import build_model


@pytest.mark.parametrize("name", ["cbt_mini_patch8_64", "tost_tiny_patch16_224", "crate_mini_patch8_64"])
def test_tokens_of_an_untrained_model_depend_on_the_image(name):
    model = build_model(name, img_size=64, embed_dim=64, num_heads=4, num_classes=0)
    images = normalise(digits("test", 12, size=64).images, model.preprocessing)
    twin = untrained_twin(model)
    assert not any(module.training for module in twin.modules())
    with torch.no_grad():
        tokens = twin.embed(images)[:, twin.num_prefix_tokens :]
    by_image = (tokens - tokens.mean(dim=0)).square().mean()
    share = by_image / (tokens - tokens.mean(dim=(0, 1))).square().mean()
    print(f"share of the variance that depends on the image: {share:.3f}")
    assert share > 0.2
