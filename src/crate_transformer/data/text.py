"""Texts to train on: a file, a folder of text files, or token ids that others made of one."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.data.files import list_files
from crate_transformer.data.parts import Split, role_of
from crate_transformer.data.token_files import ARRAYS, PlainFile, TokenArray, examine, open_array
from crate_transformer.data.tokenizer import Tokenizer, encode_long, open_tokenizer
from crate_transformer.data.tokens import Tokens
from crate_transformer.storage import open_file, read_file
from crate_transformer.storage.limits import memory_limit

_SHARE = 8  # of the memory that data may take, for a text that is turned into tokens at once
_LOOKED_AT = 1 << 16  # bytes at the beginning of a text


def open_text(path: str | Path, config: LanguageConfig) -> Split:
    """A text to train on, and another or its end to measure on.

    ``path`` is a text file; a file of token ids (``open_array``); or a folder of such files, which follow each other in
    the order of their names. Files or folders there called ``train`` beside ``val`` (see ``open_split``) are the parts.

    Raises:
        FileNotFoundError: there is nothing at ``path``, or the tokenizer is not on this machine.
        ValueError: a file is empty, no text or no token array; the text is too short for the context; or it holds
            token ids beyond the vocabulary.
    """
    path = Path(path)
    files = _files(path)
    if parts := _parts(files):
        train, val = (_open(path, names, config) for names in parts)
        how, here = f"{parts[0][0]} and {parts[1][0]} of {path}", False
    else:
        whole = _open(path, files, config)
        first = whole.stop - round(config.hold_out * whole.stop)
        train, val = whole.between(0, first), whole.between(first, whole.stop)
        how, here = f"the last {config.hold_out:.4g} of {path} held out", True
    for tokens, fewest in ((train, config.context_length + 1), (val, 2)):
        if tokens.num_tokens < fewest:
            purpose = "train on" if tokens is train else "hold out"
            raise ValueError(
                f"{tokens.where} has {tokens.num_tokens:,} tokens to {purpose}, and it takes at least {fewest:,}: "
                "give a longer text or a shorter context_length"
            )
    return Split(train, val, how, divided_here=here)


def open_evaluation_text(path: str | Path, config: LanguageConfig) -> Tokens:
    """A text to measure on: the part that ``open_text`` holds out where there are parts, else all.

    Raises:
        FileNotFoundError: as ``open_text``.
        ValueError: likewise; or it is a single token.
    """
    path = Path(path)
    files = _files(path)
    parts = _parts(files)
    found = _open(path, parts[1] if parts else files, config)
    if found.num_tokens < 2:
        raise ValueError(f"{found.where} is a single token: there is nothing to predict")
    return found


def _parts(files: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """The files to train on and those to measure on, where their names tell both."""
    found: dict[str | None, list[str]] = {}
    for name in files:
        found.setdefault(role_of(PurePosixPath(name.partition("/")[0]).stem), []).append(name)
    held_out = found.get("validation") or found.get("test")
    return (found["training"], held_out) if "training" in found and held_out else None


def _files(path: Path) -> list[str]:
    """The files below a folder, all of text or all of token ids; a file itself has no name in it."""
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        return [""]
    names = [name for name in list_files(path) if name.lower().endswith((".txt", *ARRAYS))]
    texts = [name for name in names if name.lower().endswith(".txt")]
    if not names:
        raise ValueError(f"{path} holds no text (.txt) and no token ids ({', '.join(ARRAYS)})")
    if 0 < len(texts) < len(names):
        other = next(name for name in names if name not in texts)
        raise ValueError(f"{path} holds text ({texts[0]}) and token ids ({other}): name one of them")
    return names


def _open(path: Path, names: Sequence[str], config: LanguageConfig) -> Tokens:
    """The files at ``path`` as one text."""
    where = f"{path}/{names[0]}" if len(names) == 1 and names[0] else str(path)
    arrays = PurePosixPath(names[0] or path.name).suffix.lower() in ARRAYS
    try:
        tokenizer = open_tokenizer(config.tokenizer)
    except (OSError, ImportError):
        if not arrays:  # which need it for nothing but the number of bytes
            raise
        tokenizer = None
    opened, digest = [], hashlib.sha256()
    for name in names:
        file = path / name if name else path
        found = open_array(file) if arrays else _open_text_file(file, config, tokenizer)
        if not len(found):
            raise ValueError(f"{file} is empty")
        least, most, told = examine(found)
        if least < 0 or most >= config.vocabulary:
            raise ValueError(
                f"{file} holds token {least if least < 0 else most}, and the model knows 0 to {config.vocabulary - 1}: "
                "give the tokenizer that it was made with, or vocab_size"
            )
        digest.update(told.encode())
        opened.append(found)
    return Tokens(
        where=where,
        arrays=tuple(opened),
        first=0,
        stop=sum(map(len, opened)),
        context_length=config.context_length,
        digest=digest.hexdigest()[:16],
        sizes=tokenizer.sizes() if tokenizer and config.vocab_size is None else None,
    )


def _open_text_file(path: Path, config: LanguageConfig, tokenizer: Tokenizer) -> TokenArray:
    """The tokens of a text; bytes stay in the file."""
    with open_file(path) as stream:
        if b"\0" in stream.read(_LOOKED_AT):
            raise ValueError(f"{path} is no text: it holds zero bytes")
        size = stream.seek(0, 2)
    if config.tokenizer == "bytes":
        return PlainFile(path, np.dtype("u1"), 0, size)
    content = read_file(path, limit=memory_limit() // _SHARE)
    try:
        return encode_long(tokenizer, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
