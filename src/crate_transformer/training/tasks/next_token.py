"""Language models."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.data import NO_TOKEN, Batch, Tokens, View, ordered_loader, window
from crate_transformer.inspection import frozen
from crate_transformer.models.language import LanguageModel, next_token_loss
from crate_transformer.storage import as_record
from crate_transformer.training.task import Processes, Progress, Task

_TOKENS = 4096  # of an evaluation batch: the logits of so many fit into memory


@dataclass(frozen=True, kw_only=True)
class NextTokenScore:
    """How well the tokens of a text are predicted, each from those before it in its window."""

    held_out_loss: float
    """Cross entropy in nats per token."""
    perplexity: float
    bits_per_byte: float | None
    """``None`` where nobody knows how many bytes a token stands for."""
    held_out_tokens: int

    def __str__(self) -> str:
        bits = "" if self.bits_per_byte is None else f", {self.bits_per_byte:.3f} bits per byte"
        return (
            f"{self.held_out_loss:.4f} nats per token{bits}, perplexity {self.perplexity:.2f} "
            f"on {self.held_out_tokens:,} held-out tokens"
        )


class NextToken(Task[LanguageModel, Tokens]):
    """Cross entropy of next tokens, in nats; ``batch["tokens"]`` holds one token more than the model is given."""

    samples = "windows"

    def __init__(self, config: LanguageConfig, model: LanguageModel) -> None:
        super().__init__()
        self.config, self.model = config, model

    @property
    def measure(self) -> str:
        return "held_out_loss"

    @property
    def higher_is_better(self) -> bool:
        return False

    def view(self) -> View:
        return window

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = batch["tokens"]
        return next_token_loss(self.model(tokens[:, :-1]), tokens[:, 1:]), {}

    def evaluate(
        self, model: LanguageModel, held_out: Tokens, processes: Processes, *, trained_on: Tokens, num_workers: int
    ) -> dict[str, object]:
        length = held_out.context_length
        loader = ordered_loader(
            held_out,
            window,
            size=(1, length + 1),
            batch_size=max(1, _TOKENS // length),
            num_workers=num_workers,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        sizes = None if held_out.sizes is None else torch.from_numpy(held_out.sizes)
        nats, count, size, device = 0.0, 0, 0, model.embedding.weight.device
        with frozen(model):
            for batch in loader:
                tokens = batch["tokens"]
                targets = tokens[:, 1:]
                there = targets[targets != NO_TOKEN]
                logits = model(tokens[:, :-1].clamp(min=0).to(device))
                nats += next_token_loss(logits, targets.to(device)).item() * len(there)
                count += len(there)
                size += 0 if sizes is None else int(sizes[there].sum())
        nats, count, size = (sum(parts) for parts in zip(*processes.gather((nats, count, size)), strict=True))
        return asdict(
            NextTokenScore(
                held_out_loss=nats / count,
                perplexity=math.exp(min(nats / count, 700.0)),
                bits_per_byte=nats / math.log(2) / size if size else None,
                held_out_tokens=count,
            )
        )

    @staticmethod
    def describe(numbers: dict[str, object]) -> str:
        return str(as_record(numbers, NextTokenScore, "the record of the run"))
