"""Between text and token ids."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt16

from crate_transformer.configs.language import VOCABULARY, TokenizerName
from crate_transformer.storage import json_limit, read_file

_PIECE = 1 << 20  # letters that are turned into tokens at a time
_GPT2 = ("openai-community/gpt2", "gpt2")


@runtime_checkable
class Tokenizer(Protocol):
    """What turns text into token ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text; bytes that are no letter become the replacement character."""

    def sizes(self) -> Int64[np.ndarray, " ids"]:
        """How many bytes of text each token stands for."""


def open_tokenizer(name: TokenizerName) -> Tokenizer:
    """The tokenizer of this name; nothing is fetched from the network.

    Raises:
        ImportError: GPT-2's needs the package ``tokenizers``.
        OSError: GPT-2's is not on this machine.
    """
    return Bytes() if name == "bytes" else GPT2()


class Bytes:
    """Every byte of the text in UTF-8 is a token."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def sizes(self) -> Int64[np.ndarray, " ids"]:
        return np.ones(256, np.int64)


class GPT2:
    """GPT-2's pieces of words, as Hugging Face's cache on this machine has them."""

    def __init__(self) -> None:
        try:
            from huggingface_hub import try_to_load_from_cache
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                "the tokenizer gpt2 needs more packages: pip install 'crate-transformer[hf]', or choose bytes"
            ) from error
        cached = (try_to_load_from_cache(repository, "tokenizer.json") for repository in _GPT2)
        path = next((found for found in cached if isinstance(found, str)), None)
        if path is None:
            raise OSError(
                f"the tokenizer gpt2 is not on this machine: fetch it once by 'hf download {_GPT2[0]} tokenizer.json', "
                "or choose bytes"
            )
        content = read_file(path, limit=json_limit())
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the package raises nothing more special
            raise ValueError(f"{path} is no tokenizer: {error}") from error

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids))

    def sizes(self) -> Int64[np.ndarray, " ids"]:
        """Each letter of a token's spelling stands for one byte; ids that the model has beyond GPT-2's, for none."""
        spellings = map(self._tokenizer.id_to_token, range(VOCABULARY["gpt2"]))
        return np.array([len(spelling or "") for spelling in spellings])


def encode_long(tokenizer: Tokenizer, text: str) -> UInt16[np.ndarray, " tokens"]:
    """The tokens of a long text, cut after a line for every million letters to take less memory."""
    return np.concatenate([np.array(tokenizer.encode(piece), np.uint16) for piece in _pieces(text)])


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        line = text.find("\n", start + _PIECE)
        stop = len(text) if line < 0 else line + 1
        yield text[start:stop]
        start = stop
