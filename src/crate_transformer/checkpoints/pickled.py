"""Files of ``torch.save``: read without executing anything, and verified against their checksums."""

import pickletools
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from encodings import aliases, normalize_encoding
from io import SEEK_CUR, BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crate_transformer.checkpoints.examine import RefusedError


class _Unread:
    """Placeholder for an object that no model needs; its content is dropped."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _NumberType:
    """Placeholder for ``numpy.dtype``, which the file would build from raw values."""

    def __init__(self, code: str, *args: object) -> None:
        if not re.fullmatch(r"[biuf][1248]", code):
            raise ValueError(f"{code} is not a numeric type")
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        self.code = f"{'>' if state[1] == '>' else '<'}{self.code}"


def _number(kind: _NumberType, content: bytes) -> int | float | bool:
    return np.frombuffer(content, kind.code)[0].item()


def _mapping(*default: object) -> dict:
    return {}


def _path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


_STAND_INS = {
    _Unread: (
        "argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.timedelta", "typing.Any",
        "numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
        "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.nodes.AnyNode",
        "omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata",
        *(f"builtins.{kind}" for kind in ("bool", "int", "float", "str", "list", "tuple", "dict")),
    ),
    OrderedDict: (
        "pytorch_lightning.utilities.parsing.AttributeDict", "lightning.fabric.utilities.data.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
    ),
    _mapping: ("collections.defaultdict",),
    _NumberType: ("numpy.dtype",),
    _number: ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    _path: tuple(
        f"{module}.{kind}Path"
        for module in ("pathlib", "pathlib._local")
        for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")
    ),
}  # fmt: skip
"""Placeholders for the classes that training programs store beside the weights; the classes themselves never run."""
_GROWING = {name for pair in aliases.aliases.items() if pair[1].endswith("_codec") for name in pair}
"""Encodings from bytes to bytes, such as ``hex``: applied repeatedly, they expand a few bytes to any size."""
_PICKLES = 5  # in the older format: a magic number, a version, sizes of integers, the content, names of its values


def load_pickled(path: Path) -> object:
    """The content of a ``torch.save`` file in plain types; tensors are memory-mapped, so optimiser states are not read.

    Raises:
        ValueError: the file is truncated, damaged, of another format, or contains Python objects that could run code.
    """
    is_archive = zipfile.is_zipfile(path)
    try:
        if is_archive:
            _check_structure(path)
        else:
            with path.open("rb") as stream:
                _check_pickles(stream, _PICKLES)
        names: list[Any] = [(stand_in, name) for stand_in, names in _STAND_INS.items() for name in names]
        with torch.serialization.safe_globals(names), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch deprecates tensor types that are refused later
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except RefusedError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        culprit = re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) (\S{1,100})\s", str(error))
        if culprit:
            raise ValueError(
                f"{path} is refused: it contains {culprit[1]}, which is neither a tensor nor a plain value and could "
                "run code; nothing was executed"
            ) from error
        raise ValueError(f"{path} is not a readable checkpoint: truncated, damaged, or in another format") from (error)


def verify(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare the bytes of the memory-mapped tensors with the checksums in the archive.

    Archives that PyTorch wrote without checksums, and files of its older format, cannot be verified.

    Raises:
        ValueError: bytes have changed since the file was written; the message names the tensor.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        known = {(member.file_size, member.CRC) for member in archive.infolist()}
    if not any(checksum for _, checksum in known):
        return
    checked = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if storage.nbytes() and storage.data_ptr() not in checked:
            content = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
            if (storage.nbytes(), zlib.crc32(content.data)) not in known:
                raise ValueError(f"{path} is damaged: the values of tensor {name!r} do not match their checksum")
            checked.add(storage.data_ptr())


def _check_structure(path: Path) -> None:
    """Read and verify the members of the archive that are not tensor values; they are few and small."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_places(path, members, archive.start_dir)
        with_checksums = any(member.CRC for member in members)
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise RefusedError(f"{path} is refused: its members are compressed, store them without compression")
            if "/data/" in member.filename:
                continue
            if not with_checksums:
                del member.CRC  # no checksum to verify
            content = archive.read(member)
            if member.filename.endswith("data.pkl"):
                _check_pickles(BytesIO(content), 1)


def _check_places(path: Path, members: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Check that no member reaches into the next: PyTorch finds its values by lengths that have no checksum."""
    ordered = sorted(members, key=lambda member: member.header_offset)
    with path.open("rb") as stream:
        for member, following in zip(ordered, [*(member.header_offset for member in ordered[1:]), end], strict=True):
            stream.seek(member.header_offset + 26)
            name, extra = struct.unpack("<HH", stream.read(4))
            if member.header_offset + 30 + name + extra + member.compress_size > following:
                raise ValueError(f"member {member.filename!r} reaches into the next")


def _check_pickles(stream: BufferedReader | BytesIO, count: int) -> None:
    """Check pickles without running them: PyTorch allows them to encode text, which can make it grow without limit."""
    if tarfile.is_tarfile(stream):
        raise ValueError("a format of the year 2016")
    stream.seek(0)
    words = set()
    for _ in range(count):
        if not stream.read(1):
            break
        stream.seek(-1, SEEK_CUR)
        words |= {word for _, word, _ in pickletools.genops(stream) if isinstance(word, str)}
    if "_codecs encode" in words and any(normalize_encoding(word).lower() in _GROWING for word in words):
        raise ValueError("a text that grows")
