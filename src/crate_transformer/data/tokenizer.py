"""Tokenizers."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt16

from crate_transformer.configs.language import VOCABULARY, TokenizerName
from crate_transformer.storage import json_limit, read_file

_PIECE = 1 << 20  # characters tokenised at a time
_GPT2 = ("openai-community/gpt2", "gpt2")


@runtime_checkable
class Tokenizer(Protocol):
    """Converts text to token ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text; invalid bytes become the replacement character."""
        ...

    def sizes(self) -> Int64[np.ndarray, " ids"]:
        """Number of bytes of text for each token."""
        ...


def open_tokenizer(name: TokenizerName) -> Tokenizer:
    """The tokenizer of this name; nothing is downloaded.

    Raises:
        ImportError: the package ``tokenizers``, which GPT-2's tokenizer needs, is not installed.
        OSError: GPT-2's tokenizer is not on this machine.
    """
    return Bytes() if name == "bytes" else GPT2()


class Bytes:
    """Every byte of the UTF-8 text is a token."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def sizes(self) -> Int64[np.ndarray, " ids"]:
        return np.ones(256, np.int64)


class GPT2:
    """GPT-2's byte-pair encoding, from the Hugging Face cache on this machine."""

    def __init__(self) -> None:
        try:
            from huggingface_hub import try_to_load_from_cache
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                "the tokenizer gpt2 needs additional packages: pip install 'crate-transformer[hf]', or choose bytes"
            ) from error
        cached = (try_to_load_from_cache(repository, "tokenizer.json") for repository in _GPT2)
        path = next((found for found in cached if isinstance(found, str)), None)
        if path is None:
            raise OSError(
                "the tokenizer gpt2 is not on this machine: download it once with "
                f"'hf download {_GPT2[0]} tokenizer.json', or choose bytes"
            )
        content = read_file(path, limit=json_limit())
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the package raises nothing more special
            raise ValueError(f"{path} is not a tokenizer: {error}") from error

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids))

    def sizes(self) -> Int64[np.ndarray, " ids"]:
        """Number of bytes per token: one for each character of its spelling; 0 for padding ids beyond GPT-2's."""
        spellings = map(self._tokenizer.id_to_token, range(VOCABULARY["gpt2"]))
        return np.array([len(spelling or "") for spelling in spellings])


def encode_long(tokenizer: Tokenizer, text: str) -> UInt16[np.ndarray, " tokens"]:
    """The tokens of a long text, tokenised in pieces of about a million characters to save memory."""
    pieces = [np.array(tokenizer.encode(piece), np.uint16) for piece in _pieces(text)]
    return np.concatenate([np.zeros(0, np.uint16), *pieces])


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        line = text.find("\n", start + _PIECE)
        stop = len(text) if line < 0 else line + 1
        yield text[start:stop]
        start = stop
