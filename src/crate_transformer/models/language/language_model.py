"""The common part of all language models: embedding, positions, tied output."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crate_transformer.models.foldable import Foldable
from crate_transformer.models.language.config import LanguageConfig

NO_TARGET = -1
"""The target of a token that is ignored in the loss."""


def next_token_loss(
    logits: Float[Tensor, "batch tokens vocabulary"], targets: Int[Tensor, "batch tokens"]
) -> Float[Tensor, ""]:
    """Cross entropy in nats per token, in float32 or better; targets of -1 are ignored."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(exact.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)


class LanguageModel(Foldable, nn.Module):
    """Token ids to the logits of each next token, through a stack of blocks; the output map is the embedding.

    Linear maps are initialised as in GPT-2: normal with standard deviation 0.02, divided by ``sqrt(2 * depth)`` at the
    end of a residual branch.
    """

    provenance: Any
    """Where the weights come from (``checkpoints.Provenance``); only models that were loaded have it."""
    grad_checkpointing = False

    def __init__(self, config: LanguageConfig, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.embed_dim = config.embed_dim
        self.embedding = nn.Embedding(config.vocab_size, config.embed_dim)
        self.pos_embed = nn.Parameter(torch.empty(config.context_length, config.embed_dim))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.embed_dim, bias=config.bias)
        for weight in (self.embedding.weight, self.pos_embed):
            nn.init.normal_(weight, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                ends_branch = name.endswith((".out", ".fc2"))
                nn.init.normal_(module.weight, std=0.02 / (2 * config.depth) ** 0.5 if ends_branch else 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, token_ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """Tokens after the last block and the final norm."""
        length = token_ids.shape[1]
        if length > self.config.context_length:
            raise ValueError(f"{length} tokens are more than the context_length {self.config.context_length}")
        z = self.embedding(token_ids) + self.pos_embed[:length]
        save_memory = self.grad_checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            z = checkpoint(block, z, use_reentrant=False) if save_memory else block(z)
        return self.norm(z)

    def forward(self, token_ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocabulary"]:
        return self._logits(self.forward_features(token_ids))

    def _logits(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch vocabulary"]:
        return F.linear(z.to(self.embedding.weight.dtype), self.embedding.weight)

    def loss(self, token_ids: Int[Tensor, "batch tokens"], targets: Int[Tensor, "batch tokens"]) -> Float[Tensor, ""]:
        """Cross entropy of the targets (the next tokens) in nats per token; targets of -1 are ignored."""
        return next_token_loss(self(token_ids), targets)

    @torch.no_grad()
    def generate(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        num_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "batch more_tokens"]:
        """Continue the text token by token; tokens beyond the context length are dropped.

        Args:
            temperature: logits are divided by it; 0 always takes the most likely token.
            top_k: sample only from this many most likely tokens.

        Raises:
            ValueError: there is no token to start from, one is not in the vocabulary, or an option is out of range.
        """
        if not token_ids.numel() or not 0 <= token_ids.min() <= token_ids.max() < self.config.vocab_size:
            raise ValueError(f"token_ids must contain at least one token, from 0 to {self.config.vocab_size - 1}")
        if num_new_tokens < 0 or not temperature >= 0 or (top_k is not None and top_k < 1):
            raise ValueError(
                f"num_new_tokens is {num_new_tokens}, temperature is {temperature} and top_k is {top_k}: the first two "
                "must be at least 0, top_k at least 1"
            )
        for _ in range(num_new_tokens):
            last = self.forward_features(token_ids[:, -self.config.context_length :])[:, -1]
            logits = self._logits(last).float()
            if top_k is not None and top_k < logits.shape[1]:
                logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
            if temperature == 0:
                choice = logits.argmax(dim=-1, keepdim=True)
            else:
                choice = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)
            token_ids = torch.cat([token_ids, choice.to(token_ids.dtype)], dim=1)
        return token_ids

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing its activations."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are matrices by shape but not linear maps."""
        return {"pos_embed"}
