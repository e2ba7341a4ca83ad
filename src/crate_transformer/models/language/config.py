"""The configuration shared by all language models."""

from dataclasses import dataclass

from crate_transformer.models.config import check_numbers


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """The configuration shared by all families; the defaults fit GPT-2's tokenizer, rounded up to a multiple of 64.

    Args:
        vocab_size: vocabulary size.
        context_length: largest number of input tokens.
        bias: whether linear maps and norms have biases.
    """

    vocab_size: int = 50304
    context_length: int = 1024
    embed_dim: int
    depth: int
    num_heads: int
    bias: bool = False

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}")
