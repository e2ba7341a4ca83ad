"""Precision of operations under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager:
    """Disable autocast inside the ``with`` block; no effect on the device meta, which has no autocast. Products in
    float32 are TF32 if the user allows it."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 for float64; PyTorch 2.6 cannot load exported programs that contain ``promote_types``."""
    return dtype if dtype == torch.float64 else torch.float32


def product_dtype(operand: Tensor) -> torch.dtype:
    """The precision of a matrix product with this tensor: that of autocast if it is enabled."""
    kind = operand.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and operand.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return operand.dtype
