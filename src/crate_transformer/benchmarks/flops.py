"""Floating-point operations of a model."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, *size: int, batch: int = 4) -> float:
    """Floating-point operations of one image's forward pass, as counted by PyTorch: only matrix products and
    convolutions, a multiply-add as two, attention as plain products. ``model`` may be on the meta device.

    Args:
        size: shape of one input without the batch, such as 3, 224, 224.
    """
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    plain = sdpa_kernel(SDPBackend.MATH)  # the counter does not support fused attention on a CPU
    with plain, FakeTensorMode(), FlopCounterMode(display=False) as counter, torch.no_grad():
        cpu = {name: torch.empty(t.shape, dtype=t.dtype) for name, t in state.items()}
        torch.func.functional_call(model, cpu, (torch.empty(batch, *size),))
    return counter.get_total_flops() / batch
