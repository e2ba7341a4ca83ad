"""Language models."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from crate_transformer.configs.checks import check_choice, check_positive
from crate_transformer.configs.objective import ObjectiveConfig

TokenizerName = Literal["bytes", "gpt2"]
VOCABULARY: dict[str, int] = {"bytes": 256, "gpt2": 50304}
"""Ids that a model knows; GPT-2's 50,257 are rounded up to a multiple of 64."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(ObjectiveConfig):
    """Predicting each next token of a text."""

    default_model: ClassVar[str] = "crate_lm_micro"

    tokenizer: TokenizerName = "bytes"
    """What a token is: a byte, or a piece of a word as GPT-2 has them, whose file must be on this machine."""
    context_length: int = 256
    """Tokens that the model sees at once."""
    vocab_size: int | None = None
    """Ids that the model knows; those of the tokenizer unless given, for a token array of another one."""
    hold_out: float = 0.1
    """Fraction of the text, its end, that is not trained on but measured; a text that comes in parts stays as it is."""

    def __post_init__(self) -> None:
        check_choice(self, "tokenizer", get_args(TokenizerName))
        check_positive(self, "context_length", "vocab_size")
        if not 0 < self.hold_out < 1:
            raise ValueError(f"hold_out is {self.hold_out}: it must be above 0 and below 1")

    @property
    def vocabulary(self) -> int:
        """Ids that the model knows."""
        return self.vocab_size or VOCABULARY[self.tokenizer]

    def model_options(self, num_classes: int) -> dict[str, object]:
        return {"vocab_size": self.vocabulary, "context_length": self.context_length}
