"""Text data: a file, a folder of text files, or token ids."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from crate_transformer.configs.language import LanguageConfig
from crate_transformer.data.files import list_files
from crate_transformer.data.parts import Split, choose_parts, role_of
from crate_transformer.data.token_files import ARRAYS, PlainFile, TokenArray, examine, open_array
from crate_transformer.data.tokenizer import Tokenizer, encode_long, open_tokenizer
from crate_transformer.data.tokens import Tokens
from crate_transformer.storage import open_file, read_file
from crate_transformer.storage.limits import memory_limit

_SHARE = 8  # a text that is tokenised at once may take this fraction of the memory limit
_LOOKED_AT = 1 << 16  # bytes at the beginning of a text


def open_text(path: str | Path, config: LanguageConfig) -> Split[Tokens]:
    """A text for training, and another one, or the end of it, for evaluation.

    ``path`` is a text file, a file of token ids (``open_array``), or a folder of such files, which are joined in the
    order of their names. Files or folders called ``train`` and ``val`` (see ``open_split``) are used as the parts.

    Raises:
        FileNotFoundError: ``path`` does not exist, or the tokenizer is not on this machine.
        ValueError: a file is empty, or neither text nor a token array; there is something else beside the parts; the
            text is too short for the context; or it contains token ids beyond the vocabulary.
    """
    path = Path(path)
    files = _files(path)
    if parts := _parts(path, files):
        training, held_out, how = parts
        train, val, here = _open(path, training, config), _open(path, held_out, config), False
    else:
        whole = _open(path, files, config)
        first = whole.stop - round(config.hold_out * whole.stop)
        train, val = whole.between(0, first), whole.between(first, whole.stop)
        how, here = f"the last {config.hold_out:.4g} of {path} held out", True
    for tokens, fewest in ((train, config.context_length + 1), (val, 2)):
        if tokens.num_tokens < fewest:
            purpose = "train on" if tokens is train else "hold out"
            raise ValueError(
                f"{tokens.where} has {tokens.num_tokens:,} tokens to {purpose}, but at least {fewest:,} are needed: "
                "give a longer text or a shorter context_length"
            )
    return Split(train, val, how, divided_here=here)


def open_evaluation_text(path: str | Path, config: LanguageConfig) -> Tokens:
    """A text for evaluation: the part that ``open_text`` holds out if there are parts, else all.

    Raises:
        FileNotFoundError: as in ``open_text``.
        ValueError: as in ``open_text``; or the text is a single token.
    """
    path = Path(path)
    files = _files(path)
    parts = _parts(path, files)
    found = _open(path, parts[1] if parts else files, config)
    if found.num_tokens < 2:
        raise ValueError(f"{found.where} is a single token: there is nothing to predict")
    return found


def _parts(path: Path, files: Sequence[str]) -> tuple[list[str], list[str], str] | None:
    """The training files, the evaluation files and a description, if the names define both parts."""
    members: dict[str, list[str]] = {}
    for name in files:
        members.setdefault(name.partition("/")[0], []).append(name)
    roles = {head: role_of(PurePosixPath(head).stem) for head in sorted(members)}
    parts = {head: role for head, role in roles.items() if role}
    if "training" not in parts.values() or set(parts.values()) == {"training"}:
        return None
    training, held_out, how = choose_parts(path, parts, sorted(set(members) - set(parts)))
    return members[training], members[held_out], how


def _files(path: Path) -> list[str]:
    """The files below a folder, all text or all token ids; for a file, a single empty name."""
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        return [""]
    names = [name for name in list_files(path) if name.lower().endswith((".txt", *ARRAYS))]
    texts = [name for name in names if name.lower().endswith(".txt")]
    if not names:
        raise ValueError(f"{path} contains no text (.txt) and no token ids ({', '.join(ARRAYS)})")
    if 0 < len(texts) < len(names):
        other = next(name for name in names if name not in texts)
        raise ValueError(f"{path} contains both text ({texts[0]}) and token ids ({other}): choose one of them")
    return names


def _open(path: Path, names: Sequence[str], config: LanguageConfig) -> Tokens:
    """The files at ``path`` as one text."""
    where = f"{path}/{names[0]}" if len(names) == 1 and names[0] else str(path)
    arrays = PurePosixPath(names[0] or path.name).suffix.lower() in ARRAYS
    try:
        tokenizer = open_tokenizer(config.tokenizer)
    except (OSError, ImportError):
        if not arrays:  # token ids need the tokenizer only for the number of bytes
            raise
        tokenizer = None
    opened, digest = [], hashlib.sha256()
    for name in names:
        file = path / name if name else path
        found = open_array(file) if arrays or tokenizer is None else _open_text_file(file, config, tokenizer)
        if not len(found):
            raise ValueError(f"{file} is empty")
        least, most, told = examine(found)
        if least < 0 or most >= config.vocabulary:
            raise ValueError(
                f"{file} contains the token id {least if least < 0 else most}, but the vocabulary is 0 to "
                f"{config.vocabulary - 1}: give the tokenizer that the file was made with, or vocab_size"
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
    """The tokens of a text; bytes are read from the file on demand."""
    with open_file(path) as stream:
        if b"\0" in stream.read(_LOOKED_AT):
            raise ValueError(f"{path} is not a text: it contains zero bytes")
        size = stream.seek(0, 2)
    if config.tokenizer == "bytes":
        return PlainFile(path, np.dtype("u1"), 0, size)
    content = read_file(path, limit=memory_limit() // _SHARE)
    try:
        return encode_long(tokenizer, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
