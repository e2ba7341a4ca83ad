"""The precision that a run trains in."""

import torch

from crate_transformer.layers.fast_products import fast_products
from crate_transformer.training.config import TrainConfig

BF16_WIDTH_ON_CPU = 64  # measured on an AVX512-BF16 CPU, docs/results.md


def choose_precision(config: TrainConfig, width: int, device: torch.device) -> str:
    """``"bf16"`` or ``"no"`` in Accelerate's words; see ``TrainConfig.precision``."""
    if config.precision != "auto":
        return {"bf16": "bf16", "float32": "no"}[config.precision]
    wide = device.type == "cuda" or (device.type == "cpu" and width >= BF16_WIDTH_ON_CPU)
    return "bf16" if wide and fast_products(torch.bfloat16, device.type) else "no"
