"""torchvision beside a PyTorch that it was not built for, which is what pip installs on a machine without a GPU."""

import importlib
import warnings
from importlib.metadata import version

import torch

_UNGUARDED = ("nms", "qnms")
"""Operators that torchvision registers without asking whether its compiled library could be loaded."""


def import_torchvision() -> None:
    """Import torchvision if it is installed, also where its compiled operators cannot be loaded.

    timm and transformers import it for its transforms, which need no operator. The operators are then declared
    without an implementation, so that torchvision still refuses to compute with them, and a warning tells the remedy.

    Raises:
        ImportError: torchvision is broken in another way.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
    except RuntimeError as error:
        versions = f"torchvision {version('torchvision')} was not built for PyTorch {torch.__version__}"
        remedy = "install both from one index, as docs/install.md says"
        if "operator torchvision::" not in str(error):
            raise ImportError(f"{versions} ({error}): {remedy}") from error
        for name in _UNGUARDED:
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
        warnings.warn(
            f"{versions}: its compiled operators (nms, roi_align) are missing, transforms work; {remedy}",
            RuntimeWarning,
            stacklevel=2,
        )
