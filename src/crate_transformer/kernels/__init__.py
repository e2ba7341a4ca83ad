"""Fused kernels in Triton, for a GPU. Only the modules that hold a kernel import ``triton``.

With ``TRITON_INTERPRET=1`` in the environment Triton interprets them, slowly, on a CPU as well: that is how they are
tested where there is no GPU.
"""

import os

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
MAX_HEAD_DIM = 256
HALF = (torch.bfloat16, torch.float16)


def worthwhile(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a model should call the kernels for products of this precision on this device.

    They take float32 as well, for comparison: to stay exact they then multiply without tensor cores, as PyTorch does.
    """
    return (device.type == "cuda" and dtype in HALF) or (INTERPRETED and dtype in (torch.float32, *HALF))
