"""Arithmetic and autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager:
    """No autocast inside the ``with`` block; nothing on the device meta, which knows none. Products in float32 are TF32
    where the user allows that."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def product_dtype(operand: Tensor) -> torch.dtype:
    """The precision in which a matrix product of this tensor runs: that of autocast where it is on."""
    kind = operand.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and operand.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return operand.dtype
