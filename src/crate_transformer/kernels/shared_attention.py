"""Softmax attention of one projection with itself, forward and backward, without the map."""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from crate_transformer.kernels import MAX_HEAD_DIM

LOG2_E = tl.constexpr(1.4426950408889634)  # a GPU has an instruction for powers of 2


def shared_attention(
    w: Float[Tensor, "batch heads tokens head_dim"],
) -> Float[Tensor, "batch heads tokens head_dim"]:
    r""":math:`S W` with :math:`S = \mathrm{softmax}(p^{-1/2} W W^\top)`, where one projection is query, key and value.

    A block of tokens is read once and used as key and value. Sums are float32. The memory layout of the result and of
    the gradient is ``(batch, tokens, heads, head_dim)``.

    Raises:
        ValueError: ``head_dim`` is above 256.
    """
    if w.shape[-1] > MAX_HEAD_DIM:
        raise ValueError(f"head_dim is {w.shape[-1]}: the kernel takes at most {MAX_HEAD_DIM}")
    return _forward(w)[0]


def forward_tiles(head_dim: int, dtype: torch.dtype) -> dict[str, int]:
    """Rows and columns of a tile of the map, and launch settings that fit the registers of an H100."""
    if dtype == torch.float32:
        return {"ROWS": 32, "COLUMNS": 16, "num_warps": 8, "num_stages": 2}
    warps, stages = (4 if head_dim <= 64 else 8), (3 if head_dim <= 128 else 2)
    return {"ROWS": 128, "COLUMNS": 64, "num_warps": warps, "num_stages": stages}


def backward_tiles(head_dim: int, dtype: torch.dtype) -> dict[str, int]:
    """The same for the backward pass, which needs twice as many registers."""
    if dtype == torch.float32:
        return {"ROWS": 32, "COLUMNS": 16, "num_warps": 8, "num_stages": 1}
    if head_dim <= 64:
        return {"ROWS": 64, "COLUMNS": 64, "num_warps": 4, "num_stages": 2}
    return {"ROWS": 128, "COLUMNS": 64 if head_dim <= 128 else 32, "num_warps": 8, "num_stages": 2}


@torch.library.custom_op("crate_transformer::shared_attention", mutates_args=())
def _forward(w: Tensor) -> tuple[Tensor, Tensor]:
    """The result, and for every row the base-2 logarithm of its softmax denominator."""
    mixed, lse = _forward_results(w)
    w = _whole_rows(w)
    tiles, sizes = forward_tiles(w.shape[-1], w.dtype), _sizes(w)
    if w.numel():
        with torch.cuda.device_of(w):
            forward_kernel[_grid(w, tiles["ROWS"])](w, mixed, lse, *_strides(w, mixed), *sizes, **tiles)
    return mixed, lse


@_forward.register_fake
def _forward_results(w: Tensor) -> tuple[Tensor, Tensor]:
    return _backward_result(w), w.new_empty(w.shape[:3], dtype=torch.float32)


@torch.library.custom_op("crate_transformer::shared_attention_backward", mutates_args=())
def _backward(w: Tensor, gradient: Tensor, mixed: Tensor, lse: Tensor) -> Tensor:
    on_w, delta = _backward_result(w), torch.empty_like(lse)
    w, gradient, mixed = _whole_rows(w), _whole_rows(gradient), _whole_rows(mixed)
    tiles, sizes = backward_tiles(w.shape[-1], w.dtype), _sizes(w)
    if w.numel():
        with torch.cuda.device_of(w):
            delta_kernel[_grid(w, 32)](gradient, mixed, delta, *_strides(gradient, mixed), *sizes, ROWS=32)
            backward_kernel[_grid(w, tiles["ROWS"])](
                w, gradient, lse, delta, on_w, *_strides(w, gradient, on_w), *sizes, **tiles
            )
    return on_w


@_backward.register_fake
def _backward_result(w: Tensor, *_: Tensor) -> Tensor:
    batch, heads, tokens, head_dim = w.shape
    return w.new_empty(batch, tokens, heads, head_dim).transpose(1, 2)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, *output)


def _differentiate(ctx: Any, gradient: Tensor, _: Tensor | None) -> Tensor:
    w, mixed, lse = ctx.saved_tensors
    return _backward(w, gradient, mixed, lse)


_forward.register_autograd(_differentiate, setup_context=_keep)


def _whole_rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _grid(w: Tensor, rows: int) -> tuple[int]:
    return (triton.cdiv(w.shape[2], rows) * w.shape[0] * w.shape[1],)


def _strides(*tensors: Tensor) -> list[int]:
    return [stride for x in tensors for stride in x.stride()[:3]]


def _sizes(w: Tensor) -> tuple[int, int, int, int]:
    """Heads, tokens, head_dim, and the tile width, a power of two."""
    _, heads, tokens, head_dim = w.shape
    return heads, tokens, head_dim, max(16, triton.next_power_of_2(head_dim))


# no_type_check, because the type checks in tests would wrap functions that Triton must parse


@triton.jit
@no_type_check
def load_rows(start, rows, stride, tokens, HEAD_DIM: tl.constexpr, DIMS: tl.constexpr):
    """Rows of one head, zero beyond its tokens and dimensions."""
    dims = tl.arange(0, DIMS)
    inside = (rows < tokens)[:, None] & (dims < HEAD_DIM)[None, :]
    return tl.load(start + rows[:, None] * stride + dims[None, :], mask=inside, other=0.0)


@triton.jit
@no_type_check
def store_rows(start, rows, stride, tokens, values, HEAD_DIM: tl.constexpr, DIMS: tl.constexpr):
    """The inverse of ``load_rows``."""
    dims = tl.arange(0, DIMS)
    inside = (rows < tokens)[:, None] & (dims < HEAD_DIM)[None, :]
    tl.store(start + rows[:, None] * stride + dims[None, :], values.to(start.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def my_rows(tokens, ROWS: tl.constexpr):
    """The sequence and the rows of this program; programs of one sequence run consecutively and share it in L2."""
    blocks = tl.cdiv(tokens, ROWS)
    sequence = (tl.program_id(0) // blocks).to(tl.int64)
    return sequence, tl.program_id(0) % blocks * ROWS + tl.arange(0, ROWS)


@triton.jit
@no_type_check
def forward_kernel(
    w, mixed, lse, w_batch, w_head, w_token, mixed_batch, mixed_head, mixed_token, heads, tokens,
    HEAD_DIM: tl.constexpr, DIMS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A block of rows is processed over all columns, with an online softmax."""
    sequence, rows = my_rows(tokens, ROWS)
    image, head = sequence // heads, sequence % heads
    w += image * w_batch + head * w_head
    w_i = load_rows(w, rows, w_token, tokens, HEAD_DIM, DIMS)
    top = tl.zeros([ROWS], tl.float32)  # the maximum of a row is at least 0: a token's score with itself is a square
    total = tl.zeros([ROWS], tl.float32)
    sums = tl.zeros([ROWS, DIMS], tl.float32)
    for start in range(0, tokens, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        w_j = load_rows(w, columns, w_token, tokens, HEAD_DIM, DIMS)
        scores = tl.dot(w_i, tl.trans(w_j), input_precision="ieee") * (HEAD_DIM**-0.5 * LOG2_E)
        scores = tl.where((columns < tokens)[None, :], scores, -float("inf"))
        above = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores - above[:, None])
        shrink = tl.exp2(top - above)
        total = total * shrink + tl.sum(weights, 1)
        sums = tl.dot(weights.to(w_j.dtype), w_j, sums * shrink[:, None], input_precision="ieee")
        top = above
    mixed += image * mixed_batch + head * mixed_head
    store_rows(mixed, rows, mixed_token, tokens, sums / total[:, None], HEAD_DIM, DIMS)
    tl.store(lse + sequence * tokens + rows, top + tl.log2(total), mask=rows < tokens)


@triton.jit
@no_type_check
def delta_kernel(
    gradient, mixed, delta, g_batch, g_head, g_token, mixed_batch, mixed_head, mixed_token, heads, tokens,
    HEAD_DIM: tl.constexpr, DIMS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The inner product of result and gradient for every row, which the softmax gradient subtracts."""
    sequence, rows = my_rows(tokens, ROWS)
    image, head = sequence // heads, sequence % heads
    g_i = load_rows(gradient + image * g_batch + head * g_head, rows, g_token, tokens, HEAD_DIM, DIMS)
    o_i = load_rows(mixed + image * mixed_batch + head * mixed_head, rows, mixed_token, tokens, HEAD_DIM, DIMS)
    tl.store(delta + sequence * tokens + rows, tl.sum(g_i.to(tl.float32) * o_i.to(tl.float32), 1), mask=rows < tokens)


@triton.jit
@no_type_check
def backward_kernel(
    w, gradient, lse, delta, on_w, w_batch, w_head, w_token, g_batch, g_head, g_token, on_batch, on_head, on_token,
    heads, tokens,
    HEAD_DIM: tl.constexpr, DIMS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A block of rows is processed over all columns; by symmetry each tile of scores is used for rows and columns."""
    sequence, rows = my_rows(tokens, ROWS)
    image, head = sequence // heads, sequence % heads
    w += image * w_batch + head * w_head
    gradient += image * g_batch + head * g_head
    lse += sequence * tokens
    delta += sequence * tokens
    w_i = load_rows(w, rows, w_token, tokens, HEAD_DIM, DIMS)
    g_i = load_rows(gradient, rows, g_token, tokens, HEAD_DIM, DIMS)
    lse_i = tl.load(lse + rows, mask=rows < tokens, other=float("inf"))[:, None]
    delta_i = tl.load(delta + rows, mask=rows < tokens, other=0.0)[:, None]
    sums = tl.zeros([ROWS, DIMS], tl.float32)
    for start in range(0, tokens, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        w_j = load_rows(w, columns, w_token, tokens, HEAD_DIM, DIMS)
        g_j = load_rows(gradient, columns, g_token, tokens, HEAD_DIM, DIMS)
        lse_j = tl.load(lse + columns, mask=columns < tokens, other=float("inf"))[None, :]
        delta_j = tl.load(delta + columns, mask=columns < tokens, other=0.0)[None, :]
        scores = tl.dot(w_i, tl.trans(w_j), input_precision="ieee") * (HEAD_DIM**-0.5 * LOG2_E)
        s_ij, s_ji = tl.exp2(scores - lse_i), tl.exp2(scores - lse_j)
        on_s_ij = tl.dot(g_i, tl.trans(w_j), input_precision="ieee")
        on_s_ji = tl.dot(w_i, tl.trans(g_j), input_precision="ieee")
        on_scores = (s_ij * (on_s_ij - delta_i) + s_ji * (on_s_ji - delta_j)) * HEAD_DIM**-0.5
        sums = tl.dot(on_scores.to(w_j.dtype), w_j, sums, input_precision="ieee")
        sums = tl.dot(s_ji.to(g_j.dtype), g_j, sums, input_precision="ieee")
    store_rows(on_w + image * on_batch + head * on_head, rows, on_token, tokens, sums, HEAD_DIM, DIMS)
