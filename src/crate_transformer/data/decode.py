"""Decoding image files to upright 8-bit RGB."""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from crate_transformer.storage import read_file
from crate_transformer.storage.limits import DEFAULT_LIMIT, HOW_TO_RAISE, check_memory, memory_limit

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_PNG = b"\x89PNG\r\n\x1a\n"
_BYTES_PER_PIXEL = {"1": 6, "L": 6, "RGB": 8, "P": 10, "I;16": 11, "I;16B": 11}  # decoded, turned upright, converted
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = (5, 6, 7, 8)


class BrokenImageError(ValueError):
    """An image that cannot be read; the message names it."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name} is not a readable image ({reason})")
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple:
        return BrokenImageError, (self.name, self.reason)


def read_image(
    source: str | Path | bytes | BinaryIO,
    name: str | None = None,
    *,
    limit: int | None = None,
    at_least: Callable[[int, int], tuple[float, float]] | None = None,
) -> Image.Image:
    """Decode a JPEG, PNG, WebP, TIFF, BMP or GIF image to 8-bit RGB, rotated upright by its EXIF orientation.

    Greyscale, palette and CMYK images are converted by Pillow; 16-bit greyscale is scaled (not clipped) to 8 bits;
    alpha is dropped, so transparent pixels get the colour stored under them, often black; the first frame of an
    animation is used. Damaged EXIF data, text or colour profiles are ignored.

    Args:
        source: A path, the encoded bytes, or a binary file object.
        name: Name of the image in error messages; the path by default.
        limit: Memory limit in bytes, checked before decoding; ``limits.memory_limit()`` by default.
        at_least: Maps the width and height of the image to the smallest sufficient ones: a JPEG is then decoded at 1/2,
            1/4 or 1/8 of its size if that is not smaller.

    Raises:
        FileNotFoundError: The path does not exist.
        BrokenImageError: Not an image, truncated, unsupported, too large, or not a regular file.
    """
    limit = limit or memory_limit()
    name = name or (str(source) if isinstance(source, str | Path) else "the image")
    try:
        with open_image(encoded(source, limit), limit) as image:
            orientation = _orientation(image)
            if at_least and image.format in ("JPEG", "MPO"):
                turned = slice(None, None, -1 if orientation in _SWAPPING else 1)
                width, height = at_least(*image.size[turned])[turned]
                image.draft(image.mode, (math.ceil(width), math.ceil(height)))
            image.load()
            upright = image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
            return to_rgb(upright)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name} does not exist") from None
    except UnidentifiedImageError:
        raise BrokenImageError(name, "not a JPEG, PNG, WebP, TIFF, BMP or GIF file") from None
    except Image.DecompressionBombError:  # Pillow's own bound, which is lifted by a higher memory limit
        raise BrokenImageError(
            name, f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; {HOW_TO_RAISE}"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise almost any exception on damaged files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(reason.removeprefix(f"{name} ").split())
        raise BrokenImageError(name, reason or type(error).__name__) from error


def encoded(source: str | Path | bytes | BinaryIO, limit: int) -> bytes:
    """The bytes of an image file; raises ``ValueError`` if there are more than a quarter of ``limit``."""
    if isinstance(source, str | Path):
        return read_file(source, limit=limit // 4)
    content = source if isinstance(source, bytes) else source.read(limit // 4 + 1)
    if len(content) > limit // 4:
        raise ValueError(f"more than the limit of {limit // 4:,} bytes; {HOW_TO_RAISE}")
    return content


@contextmanager
def open_image(content: bytes, limit: int, formats: tuple[str, ...] = _FORMATS) -> Iterator[Image.Image]:
    """Read the header of an image; raises ``ValueError`` if decoding would take too much memory."""
    if limit > DEFAULT_LIMIT:
        Image.MAX_IMAGE_PIXELS = None  # Pillow's own bound
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # warnings about damaged metadata
        with Image.open(io.BytesIO(_without_notes(content)), formats=formats) as image:
            width, height = image.size
            check_memory(height * (width * _BYTES_PER_PIXEL.get(image.mode, 16) + 3 * 8), limit)  # pointers to rows
            yield image


def _without_notes(content: bytes) -> bytes:
    """A PNG file without the chunks that its pixels do not need: Pillow refuses an image if one of these is damaged,
    but not if the checksum of the pixels is wrong.

    Raises:
        ValueError: a chunk that the pixels need is damaged or missing.
    """
    if not content.startswith(_PNG):
        return content
    kept, start, has_palette = [_PNG], len(_PNG), content[25:26] != b"\x03"
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind, checksum = content[start + 4 : start + 8], content[end - 4 : end]
        is_whole = zlib.crc32(content[start + 4 : end - 4]).to_bytes(4, "big") == checksum
        is_needed = not kind[:1].islower()
        if is_needed and not is_whole:
            raise ValueError("a part of the file is damaged: its checksum is wrong")
        if is_needed or (kind == b"eXIf" and is_whole):
            kept.append(content[start:end])
        has_palette |= kind == b"PLTE"
        start = end if kind != b"IEND" else len(content)  # some programs append data of their own
    if not has_palette:
        raise ValueError("its palette is missing")
    return b"".join(kept)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except (ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1  # damaged EXIF


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded image as 8-bit RGB, as described in ``read_image``; raises ``ValueError`` if that is not possible."""
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"grey values from {pixels.min()} to {pixels.max()} do not fit in 16 bits")
        grey = np.empty(pixels.shape, dtype=np.uint8)
        for row, values in zip(grey, pixels, strict=True):
            row[:] = (values.astype(np.int64) + 128) // 257
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")
