"""The precisions that a run computes in, the same ones in every process."""

from typing import Literal

import torch
from accelerate.utils import broadcast_object_list

from crate_transformer.configs.loop import Precision
from crate_transformer.layers.fast_products import fast_products

BF16_WIDTH_ON_CPU = 64  # measured on an AVX512-BF16 CPU, docs/results.md

MixedPrecision = Literal["no", "bf16", "fp16"]
"""In Accelerate's words; ``"no"`` is float32."""


def choose_precision(precision: Precision, width: int, device: torch.device) -> MixedPrecision:
    """The precision of this run; see ``LoopConfig.precision``.

    Raises:
        ValueError: fp16 without a GPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision is fp16, which needs a GPU: choose bf16 or float32")
    if precision != "auto":
        return "no" if precision == "float32" else precision
    wide = device.type != "cpu" or width >= BF16_WIDTH_ON_CPU
    return choose_products(device) if wide else "no"


def choose_products(device: torch.device) -> MixedPrecision:
    """bf16 where its products are fast, else float32; asked by all processes at once, and the first one's answer."""
    found = [fast_products(torch.bfloat16, device.type)]
    broadcast_object_list(found)
    return "bf16" if found[0] else "no"
