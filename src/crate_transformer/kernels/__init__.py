"""Fused Triton kernels for GPUs. Only the modules with a kernel import ``triton``.

With ``TRITON_INTERPRET=1`` in the environment, Triton interprets them (slowly) on a CPU, for tests without a GPU.
"""

import os

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
MAX_HEAD_DIM = 256
HALF = (torch.bfloat16, torch.float16)


def worthwhile(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a model should use the kernels for products of this precision on this device.

    The kernels also accept float32, for comparison; to stay exact they then multiply without tensor cores, like
    PyTorch.
    """
    return (device.type == "cuda" and dtype in HALF) or (INTERPRETED and dtype in (torch.float32, *HALF))
