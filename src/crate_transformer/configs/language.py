"""Language modelling."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from crate_transformer.configs.checks import check_choice, check_positive
from crate_transformer.configs.objective import ObjectiveConfig

TokenizerName = Literal["bytes", "gpt2"]
VOCABULARY: dict[str, int] = {"bytes": 256, "gpt2": 50304}
"""Vocabulary size of each tokenizer; GPT-2's 50,257 is rounded up to a multiple of 64."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(ObjectiveConfig):
    """Next-token prediction."""

    default_model: ClassVar[str] = "crate_lm_micro"

    tokenizer: TokenizerName = "bytes"
    """bytes, or GPT-2's byte-pair encoding, whose file must be on this machine."""
    context_length: int = 256
    """Context length in tokens."""
    vocab_size: int | None = None
    """Vocabulary size; default: that of the tokenizer. Needed for token ids of another tokenizer."""
    hold_out: float = 0.1
    """Fraction of the text, at its end, that is held out for evaluation; ignored if the data has its own split."""

    def __post_init__(self) -> None:
        check_choice(self, "tokenizer", get_args(TokenizerName))
        check_positive(self, "context_length", "vocab_size")
        if not 0 < self.hold_out < 1:
            raise ValueError(f"hold_out is {self.hold_out}: it must be greater than 0 and less than 1")

    @property
    def vocabulary(self) -> int:
        """The vocabulary size of the model."""
        return self.vocab_size or VOCABULARY[self.tokenizer]

    def model_options(self, num_classes: int) -> dict[str, object]:
        return {"vocab_size": self.vocabulary, "context_length": self.context_length}
