"""The implementations to measure: this package in several variants, a reference, and ViTs of equal width and depth."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crate_transformer.benchmarks.reference import ReferenceCRATE
from crate_transformer.integrations.torchvision import import_torchvision
from crate_transformer.kernels import worthwhile
from crate_transformer.layers import fuse_kernels, pack_linears
from crate_transformer.models import CRATE, Backbone

OURS, REFERENCE, COMPILED = "ours", "reference", "ours (compiled)"
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def implementations(model: Backbone, device: torch.device, precision: str, *, compiled: bool = False) -> list[str]:
    """Names of the implementations that can be measured beside this model; those of absent libraries are skipped."""
    return [
        name
        for name, implementation in IMPLEMENTATIONS.items()
        if implementation.offered(model, device, precision) and (compiled or name != COMPILED)
    ]


class Logits(nn.Module):
    """A classifier of transformers that returns only the logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits


def _reference(ours: Backbone) -> nn.Module:
    if not isinstance(ours, CRATE):
        raise ValueError(f"the reference is of CRATE, not of {type(ours).__name__}")
    reference = ReferenceCRATE(ours.config)
    reference.load_state_dict(ours.state_dict())
    return reference


def _vit_of_transformers(ours: Backbone) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ours.config
    theirs = ViTConfig(
        hidden_size=config.embed_dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=4 * config.embed_dim,
        image_size=config.image_shape[0],
        patch_size=config.patch_shape[0],
        num_channels=config.in_chans,
    )
    theirs.num_labels = config.num_classes
    return Logits(ViTForImageClassification(theirs))


def _vit_of_timm(ours: Backbone) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer  # pyright: ignore[reportMissingImports]

    config = ours.config
    return VisionTransformer(
        img_size=config.image_shape,
        patch_size=config.patch_shape,
        in_chans=config.in_chans,
        num_classes=config.num_classes,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
    )


def _as_it_is(model: nn.Module, training: bool, dtype: torch.dtype) -> nn.Module:
    return model.train(training)


def _folded(model: Backbone, training: bool, dtype: torch.dtype) -> nn.Module:
    return model.train() if training else model.fold()


def _packed(model: nn.Module, training: bool, dtype: torch.dtype) -> nn.Module:
    ready = _folded(model, training, dtype) if isinstance(model, Backbone) else model.train(training)
    if not training and next(model.parameters()).device.type == "cpu":
        pack_linears(ready, dtype)
    return ready


def _compiled(model: Backbone, training: bool, dtype: torch.dtype) -> nn.Module:
    torch.compiler.reset()
    ready = _folded(model, training, dtype)
    ready.compile()
    return ready


def _with_kernels(model: Backbone, training: bool, dtype: torch.dtype) -> nn.Module:
    ready = _folded(model, training, dtype)
    fuse_kernels(ready)
    return ready


def _there(module: str, name: str) -> bool:
    """Whether a library is installed and this part can be imported."""
    try:
        import_torchvision()
        getattr(importlib.import_module(module), name)
    except (ImportError, RuntimeError):
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One of the implementations to measure.

    Args:
        plain: makes the model of its library, given ours of the same configuration.
        ready: prepares that model as its users would, for training or inference and for this precision.
        offered: whether it can be measured beside this model, on this device, in this precision.
        captured: whether a run is captured as one CUDA graph.
    """

    plain: Callable[[Backbone], nn.Module] = lambda ours: ours
    ready: Callable[[Any, bool, torch.dtype], nn.Module] = _as_it_is
    offered: Callable[[Backbone, torch.device, str], bool] = lambda ours, device, precision: True
    captured: bool = False


IMPLEMENTATIONS = {
    OURS: Implementation(ready=_packed),
    COMPILED: Implementation(ready=_compiled),
    "ours (CUDA graph)": Implementation(
        ready=_folded, captured=True, offered=lambda ours, device, precision: device.type == "cuda"
    ),
    "ours (Triton)": Implementation(
        ready=_with_kernels,
        offered=lambda ours, device, precision: worthwhile(device, DTYPES[precision]) and _there("triton", "jit"),
    ),
    REFERENCE: Implementation(plain=_reference, offered=lambda ours, device, precision: isinstance(ours, CRATE)),
    "ViT (transformers)": Implementation(
        plain=_vit_of_transformers, offered=lambda *_: _there("transformers", "ViTForImageClassification")
    ),
    "ViT (transformers, packed)": Implementation(
        plain=_vit_of_transformers,
        ready=_packed,
        offered=lambda ours, device, precision: (
            device.type == "cpu" and _there("transformers", "ViTForImageClassification")
        ),
    ),
    "ViT (timm)": Implementation(
        plain=_vit_of_timm, offered=lambda *_: _there("timm.models.vision_transformer", "VisionTransformer")
    ),
}
