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
    """Go on with a text, as a language model has learnt to."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A folder or a file, such as 'crate train --task language' leaves."""
    prompt: str = "\n"
    """The text to go on with."""
    tokens: int = 200
    """How many tokens to add."""
    temperature: float = 0.8
    """Below 1 prefers likely tokens; 0 always takes the likeliest."""
    top_k: int | None = None
    """Draw only among so many of the likeliest tokens."""
    seed: int = 0
    tokenizer: TokenizerName | None = None
    """What the checkpoint was trained with, which those of 'crate train' tell."""

    def __call__(self) -> None:
        import torch

        from crate_transformer.checkpoints import load_checkpoint
        from crate_transformer.data import open_tokenizer
        from crate_transformer.models import LanguageModel

        model = load_checkpoint(self.checkpoint)
        if not isinstance(model, LanguageModel):
            raise ValueError(f"{self.checkpoint} takes pictures ({type(model).__name__}): this command takes text")
        name = self.tokenizer_of(model)
        if model.config.vocab_size > VOCABULARY[name]:
            raise ValueError(
                f"{self.checkpoint} knows {model.config.vocab_size:,} tokens, and the tokenizer {name} has "
                f"{VOCABULARY[name]:,}: name another --tokenizer"
            )
        tokenizer = open_tokenizer(name)
        ids = tokenizer.encode(self.prompt)
        if not ids:
            raise ValueError("--prompt is empty: give at least one letter")
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
            raise ValueError(f"{self.checkpoint} does not tell its tokenizer: name it with --tokenizer")
        return told
