"""The output maps of MSSA against their equations, and in a whole model."""

import pytest
import torch

from crate_transformer.layers import MSSA, capture
from crate_transformer.models import build_model

EXACT = {"rtol": 0, "atol": 1e-12}
TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 2}
MAPS = {  # of rows of tokens: S and U^T, whose rows are the directions of the subspaces
    "tied": lambda s, u: s @ u,
    "negative": lambda s, u: -s @ u,
    "transposed": lambda s, u: s @ u.T,
    "identity": lambda s, u: s,
}
every_map = pytest.mark.parametrize("output", [*MAPS, "fixed"])


@every_map
def test_the_equations(output):
    layer, z = MSSA(12, 3, output=output).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    with capture([layer.head_output]) as seen:
        found = layer(z)
    s = seen[0].transpose(1, 2).flatten(2)
    expected = s @ layer.out.weight.T if output == "fixed" else MAPS[output](s, layer.subspaces.weight)
    torch.testing.assert_close(found, expected, **EXACT)


def test_heads_of_another_width():
    assert MSSA(8, 2, head_dim=3, output="tied")(torch.randn(1, 4, 8)).shape == (1, 4, 8)
    with pytest.raises(ValueError, match="with the output map 'transposed' num_heads 2 times head_dim 3 must be dim 8"):
        MSSA(8, 2, head_dim=3, output="transposed")


@every_map
def test_a_crate_with_it_learns_and_folds(output):
    model = build_model("crate_tiny_patch16_224", **TINY, output=output).double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    model(images).square().sum().backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert still == ([f"blocks.{number}.mssa.out.weight" for number in range(2)] if output == "fixed" else [])
    with torch.no_grad():
        torch.testing.assert_close(model.eval().fold()(images), model(images), **EXACT)


@pytest.mark.usefixtures("unchecked")
def test_a_map_that_does_not_exist():
    with pytest.raises(ValueError, match="output is 'open': choose None or 'free' or 'tied'"):
        build_model("crate_tiny_patch16_224", output="open")
