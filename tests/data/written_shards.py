"""Tar files of pictures, as tests write them."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(value: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_tar(path: Path, files: dict[str, bytes], *special: tarfile.TarInfo, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in special:
            archive.addfile(member)
    return path


def labelled(start: int, count: int, labels: int = 3) -> dict[str, bytes]:
    files = {}
    for value in range(start, start + count):
        files[f"{value:04}.png"] = picture(value)
        files[f"{value:04}.cls"] = str(value % labels).encode()
    return files


def bytes_of(images, index: int) -> bytes:
    return images.read(index).tobytes()


def decoded(value: int) -> bytes:
    return Image.open(io.BytesIO(picture(value))).tobytes()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member
