"""Who is measured: this package, the textbook transcription, and a ViT of the same width and depth from elsewhere."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crate_transformer.benchmarks.reference import TextbookCRATE
from crate_transformer.layers import pack_linears
from crate_transformer.models import CRATE, Backbone, build_model

OURS, TEXTBOOK, VIT = "ours", "textbook", "ViT"
TASKS = ("inference", "training")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class Logits(nn.Module):
    """A classifier of transformers whose output is the logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits


def contenders(model: str) -> list[str]:
    """Who can be measured beside this model: a textbook exists for CRATE, the ViT where transformers is installed."""
    names = [OURS]
    if isinstance(_meta(model), CRATE):
        names.append(TEXTBOOK)
    try:
        import transformers  # noqa: F401
    except (ImportError, RuntimeError):
        return names
    return [*names, VIT]


def prepare(contender: str, task: str, model: str, *, precision: str, device: torch.device) -> nn.Module:
    """The contender as its users would run this task; ours folded, and on a CPU packed, for inference."""
    torch.manual_seed(0)
    ours = build_model(model)
    if contender == VIT:
        return _vit(ours).to(device).train(task == "training")
    if contender == TEXTBOOK:
        textbook = TextbookCRATE(ours.config)
        textbook.load_state_dict(ours.state_dict())
        return textbook.to(device).train(task == "training")
    if task == "training":
        return ours.to(device).train()
    folded = ours.to(device).fold()
    if device.type == "cpu":
        pack_linears(folded, DTYPES[precision])
    return folded


def task_runner(task: str, model: nn.Module, images: Tensor, *, precision: str) -> Callable[[], None]:
    """One forward pass without gradients, or one step of AdamW on cross entropy."""
    if task == "inference":

        def infer() -> None:
            with torch.no_grad(), _autocast(precision, images.device):
                model(images)

        return infer
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)

    def step() -> None:
        with _autocast(precision, images.device):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def random_images(model: str, batch: int, device: torch.device) -> Tensor:
    """Noise of the model's native size."""
    config = _meta(model).config
    return torch.randn(batch, config.in_chans, *config.image_shape, device=device)


def _meta(model: str) -> Backbone:
    with torch.device("meta"):
        return build_model(model)


def _autocast(precision: str, device: torch.device) -> AbstractContextManager:
    return nullcontext() if precision == "float32" else torch.autocast(device.type, DTYPES[precision])


def _vit(like: Backbone) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = like.config
    return Logits(
        ViTForImageClassification(
            ViTConfig(
                hidden_size=config.embed_dim,
                num_hidden_layers=config.depth,
                num_attention_heads=config.num_heads,
                intermediate_size=4 * config.embed_dim,
                image_size=config.image_shape[0],
                patch_size=config.patch_shape[0],
                num_channels=config.in_chans,
                num_labels=config.num_classes,
            )
        )
    )
