"""What tests check of every call into the package: types, and shapes that belong together."""

from dataclasses import dataclass

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from shape_checks import checked
from torch import Tensor

from crate_transformer.layers import ISTA, sincos_position

check = checked(typechecker=None)


@check
def product(left: Float[Tensor, "rows inner"], right: Float[Tensor, "inner columns"]) -> Float[Tensor, "rows columns"]:
    return left @ right


@check
def transposed(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    return matrix.T


@check
@dataclass
class Size:
    height: int


@pytest.mark.parametrize(
    "call",
    [
        lambda: product(torch.ones(2, 3), torch.ones(4, 5)),
        lambda: transposed(torch.ones(2, 3)),
        lambda: Size(height="3"),
        lambda: ISTA("4"),
        lambda: ISTA(4)(torch.ones(2, 4, dtype=torch.int64)),
        lambda: sincos_position((2, 2), 4.5),
    ],
    ids=["arguments", "result", "dataclass", "type", "the package", "size by value"],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


def test_what_fits_and_what_is_not_checked(request):
    assert product(torch.ones(2, 3), torch.ones(3, 5)).shape == (2, 5)
    assert transposed(torch.ones(3, 3)).shape == (3, 3)
    assert sincos_position((2, 2), 4).shape[-1] == 4
    request.getfixturevalue("unchecked")
    assert transposed(torch.ones(2, 3)).shape == (3, 2)
