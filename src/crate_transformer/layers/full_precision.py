"""Arithmetic and autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager:
    """No autocast inside the ``with`` block; nothing on devices that know none, such as meta. Products in float32 are
    TF32 where the user allows that."""
    if _has_autocast(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def product_dtype(operand: Tensor) -> torch.dtype:
    """The precision in which a matrix product of this tensor runs: that of autocast where it is on."""
    kind = operand.device.type
    if _has_autocast(kind) and torch.is_autocast_enabled(kind) and operand.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return operand.dtype


@torch.compiler.assume_constant_result  # PyTorch 2.11 cannot trace the question itself
def _has_autocast(kind: str) -> bool:
    return torch.amp.is_autocast_available(kind)
