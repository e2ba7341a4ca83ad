"""``crate generate``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from crate_transformer.cli.terminal import say
from crate_transformer.configs.language import VOCABULARY, TokenizerName

if TYPE_CHECKING:
    from crate_transformer.models import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Command:
    """Continue a text with a language model."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A folder or a file, for example the output of 'crate train --task language'."""
    prompt: str = "\n"
    """The text to continue."""
    tokens: int = 200
    """Number of tokens to generate."""
    temperature: float = 0.8
    """Sampling temperature; 0 always takes the most likely token."""
    top_k: int | None = None
    """Sample only from this many most likely tokens."""
    seed: int = 0
    tokenizer: TokenizerName | None = None
    """Tokenizer of the checkpoint; checkpoints of 'crate train' store it."""

    def __call__(self) -> None:
        import torch

        from crate_transformer.checkpoints import load_checkpoint
        from crate_transformer.data import open_tokenizer
        from crate_transformer.models import LanguageModel

        model = load_checkpoint(self.checkpoint)
        if not isinstance(model, LanguageModel):
            raise ValueError(
                f"{self.checkpoint} is a vision model ({type(model).__name__}): this command needs a language model"
            )
        name = self.tokenizer_of(model)
        if model.config.vocab_size > VOCABULARY[name]:
            raise ValueError(
                f"{self.checkpoint} has a vocabulary of {model.config.vocab_size:,} tokens, but the tokenizer {name} "
                f"has {VOCABULARY[name]:,}: choose another --tokenizer"
            )
        tokenizer = open_tokenizer(name)
        ids = tokenizer.encode(self.prompt)
        if not ids:
            raise ValueError("--prompt is empty: give at least one character")
        generator = torch.Generator().manual_seed(self.seed)
        found = model.generate(
            torch.tensor([ids]), self.tokens, temperature=self.temperature, top_k=self.top_k, generator=generator
        )
        say(*tokenizer.decode(found[0].tolist()).split("\n"))

    def tokenizer_of(self, model: "LanguageModel") -> TokenizerName:
        """The tokenizer that was named, or that the checkpoint tells of."""
        from crate_transformer.recipes.text import tokenizer_of

        told = self.tokenizer or tokenizer_of(model)
        if told is None:
            raise ValueError(f"{self.checkpoint} does not contain its tokenizer: give it with --tokenizer")
        return told
