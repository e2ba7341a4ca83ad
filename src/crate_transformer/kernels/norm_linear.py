"""LayerNorm, linear map, bias and ReLU as one kernel, for inference."""

from collections.abc import Callable
from functools import cache
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from crate_transformer.kernels import INTERPRETED

FIXED = {"ROWS": 128, "COLUMNS": 128, "DEPTH": 64, "num_warps": 8, "num_stages": 3}
CHOICES = [
    FIXED,
    {"ROWS": 128, "COLUMNS": 64, "DEPTH": 64, "num_warps": 4, "num_stages": 3},
    {"ROWS": 128, "COLUMNS": 256, "DEPTH": 64, "num_warps": 8, "num_stages": 3},
    {"ROWS": 64, "COLUMNS": 128, "DEPTH": 64, "num_warps": 4, "num_stages": 3},
    {"ROWS": 64, "COLUMNS": 64, "DEPTH": 64, "num_warps": 4, "num_stages": 4},
    {"ROWS": 32, "COLUMNS": 64, "DEPTH": 64, "num_warps": 4, "num_stages": 4},
]
IN_FLOAT32 = {"ROWS": 32, "COLUMNS": 32, "DEPTH": 32, "num_warps": 8, "num_stages": 2}


def norm_linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
    norm_weight: Float[Tensor, " inputs"] | None = None,
    norm_bias: Float[Tensor, " inputs"] | None = None,
    *,
    eps: float = 1e-5,
    relu: bool = False,
    tune: bool = True,
) -> Float[Tensor, "*batch outputs"]:
    r""":math:`\mathrm{ReLU}(W\,\mathrm{LN}(x) + b)` in the precision of ``weight``, without gradients.

    The norm and all sums are float32; the normalised input is not written to GPU memory.

    Args:
        tune: whether the first call for a shape tries several tilings and keeps the fastest, which takes seconds.
    """
    return _norm_linear(x, weight, bias, norm_weight, norm_bias, eps, relu, tune)


@torch.library.custom_op("crate_transformer::norm_linear", mutates_args=())
def _norm_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    relu: bool,
    tune: bool,
) -> Tensor:
    y = _result(x, weight)
    if not y.numel():
        return y
    outputs, inputs = weight.shape
    x = x.reshape(-1, inputs)
    x, weight = (part if part.stride(-1) == 1 else part.contiguous() for part in (x, weight))
    rows = len(x)
    arguments = (x, weight, bias, norm_weight, norm_bias, y, x.stride(0), weight.stride(0), rows, outputs, inputs, eps)
    with torch.cuda.device_of(x):
        if tune and not INTERPRETED and weight.dtype != torch.float32:
            tuned_kernel(triton.next_power_of_2(rows))[_grid(rows, outputs)](*arguments, RELU=relu)
        else:
            tiles = IN_FLOAT32 if weight.dtype == torch.float32 else FIXED
            norm_linear_kernel[_grid(rows, outputs)](*arguments, RELU=relu, **tiles)
    return y


@_norm_linear.register_fake
def _result(x: Tensor, weight: Tensor, *_: object) -> Tensor:
    return weight.new_empty(*x.shape[:-1], weight.shape[0])


def _grid(rows: int, outputs: int) -> Callable[[dict], tuple[int]]:
    return lambda tiles: (triton.cdiv(rows, tiles["ROWS"]) * triton.cdiv(outputs, tiles["COLUMNS"]),)


@cache
def tuned_kernel(rows: int) -> triton.runtime.Autotuner:
    """The kernel, autotuned over tilings for about this many rows."""
    configs = []
    for choice in CHOICES:
        sizes = {name: size for name, size in choice.items() if name.isupper()}
        configs.append(triton.Config(sizes, num_warps=choice["num_warps"], num_stages=choice["num_stages"]))
    return triton.autotune(configs, key=["outputs", "inputs"])(norm_linear_kernel)


# no_type_check, because the type checks in tests would wrap functions that Triton must parse


@triton.jit
@no_type_check
def row_statistics(x, inside, inputs, ROWS: tl.constexpr, DEPTH: tl.constexpr):
    """Mean and variance of rows, tile by tile, by Chan's method, which avoids differences of large sums."""
    mean = tl.zeros([ROWS], tl.float32)
    squares = tl.zeros([ROWS], tl.float32)
    for start in tl.range(0, inputs, DEPTH, num_stages=3):
        here = start + tl.arange(0, DEPTH) < inputs
        mask = inside[:, None] & here[None, :]
        tile = tl.load(x + start + tl.arange(0, DEPTH)[None, :], mask=mask, other=0.0).to(tl.float32)
        count = tl.minimum(inputs - start, DEPTH)
        tile_mean = tl.sum(tile, 1) / count
        away = tl.where(here[None, :], tile - tile_mean[:, None], 0.0)
        step = tile_mean - mean
        fraction = count / (start + count)
        mean += step * fraction
        squares += tl.sum(away * away, 1) + step * step * start * fraction
    return mean, squares / inputs


@triton.jit
@no_type_check
def norm_linear_kernel(
    x, weight, bias, norm_weight, norm_bias, y, x_row, weight_row, num_rows, outputs, inputs, eps,
    RELU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Eight blocks of rows at a time are processed over all columns, so that shared data stays in L2."""
    row_blocks, column_blocks = tl.cdiv(num_rows, ROWS), tl.cdiv(outputs, COLUMNS)
    in_group = 8 * column_blocks
    first = tl.program_id(0) // in_group * 8
    height = tl.minimum(row_blocks - first, 8)
    rows = (first + tl.program_id(0) % in_group % height) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) % in_group // height * COLUMNS + tl.arange(0, COLUMNS)
    dims = tl.arange(0, DEPTH)
    x += rows.to(tl.int64)[:, None] * x_row
    weight += columns[None, :] * weight_row
    mean, variance = row_statistics(x, rows < num_rows, inputs, ROWS, DEPTH)
    scale = 1 / tl.sqrt(variance + eps)
    sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(0, inputs, DEPTH):
        depth = start + dims
        mask = (rows < num_rows)[:, None] & (depth < inputs)[None, :]
        tile = tl.load(x + depth[None, :], mask=mask, other=0.0).to(tl.float32)
        tile = (tile - mean[:, None]) * scale[:, None]
        if norm_weight is not None:
            tile *= tl.load(norm_weight + depth, mask=depth < inputs, other=0.0).to(tl.float32)[None, :]
        if norm_bias is not None:
            tile += tl.load(norm_bias + depth, mask=depth < inputs, other=0.0).to(tl.float32)[None, :]
        mask = (depth < inputs)[:, None] & (columns < outputs)[None, :]
        w = tl.load(weight + depth[:, None], mask=mask, other=0.0)
        sums = tl.dot(tile.to(w.dtype), w, sums, input_precision="ieee")
    if bias is not None:
        sums += tl.load(bias + columns, mask=columns < outputs, other=0.0).to(tl.float32)[None, :]
    if RELU:
        sums = tl.where(sums < 0, 0.0, sums)  # NaN is kept, as in PyTorch
    y += rows.to(tl.int64)[:, None] * outputs + columns[None, :]
    tl.store(y, sums.to(y.dtype.element_ty), mask=(rows < num_rows)[:, None] & (columns < outputs)[None, :])
