"""Each half of a CRATE-MLP and a CRATE-MHSA is that of the model it comes from."""

import pytest
import torch

from crate_transformer.inspection import record
from crate_transformer.models import build_model

SIZES = {"embed_dim": 32, "depth": 1, "num_heads": 4, "img_size": 16, "patch_size": 4, "num_classes": 0}
EPSILON = {"vit_mini_patch8_64": {"norm_eps": 1e-5}}  # as in a CRATE


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("crate_mlp_mini_patch8_64", "crate_mini_patch8_64", "vit_mini_patch8_64"),
        ("crate_mhsa_mini_patch8_64", "vit_mini_patch8_64", "crate_mini_patch8_64"),
    ],
)
def test_each_half_is_that_of_its_model(name, first, second):
    models = [build_model(each, **SIZES, **EPSILON.get(each, {})).double() for each in (name, first, second)]
    hybrid, compressing, other = (model.blocks[0] for model in models)
    for norm in (hybrid.norm1, hybrid.norm2):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    step = "ista" if hybrid.sparse_code else "mlp"
    for block, parts in ((compressing, ("norm1", hybrid.attention)), (other, ("norm2", step))):
        for part in parts:
            block.get_submodule(part).load_state_dict(hybrid.get_submodule(part).state_dict())
    z = torch.randn(2, 17, 32, dtype=torch.float64)
    with record(hybrid, "z_half") as seen, record(compressing, "z_half") as expected:
        output = hybrid(z)
        compressing(z)
    torch.testing.assert_close(seen["z_half"], expected["z_half"])
    z_half = seen["z_half"]
    normed = other.norm2(z_half)
    second_half = other.ista(normed) if step == "ista" else z_half + other.mlp(normed)
    torch.testing.assert_close(output, second_half)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(models[0].fold()(images), models[0](images))
