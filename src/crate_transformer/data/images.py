"""From a file, a zip entry or bytes to an upright 8-bit RGB picture, or to one sentence that says why not."""

import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from crate_transformer.data.files import list_files

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_MAX_PIXELS = 100_000_000
_LOG = logging.getLogger("crate_transformer.data")


class BrokenImageError(ValueError):
    """An image that cannot be read; ``str`` is a sentence that names it."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name} is not a readable image ({reason})")
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple:
        return BrokenImageError, (self.name, self.reason)


def read_image(source: str | Path | bytes | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode a JPEG, PNG, WebP, TIFF, BMP or GIF picture to 8-bit RGB, rotated upright by its EXIF orientation.

    Grey, palette and CMYK are converted by Pillow, 16-bit grey is scaled (not clipped) to 8 bits, alpha is dropped (so
    transparent pixels show the colour stored under them, often black), and of an animation the first frame is taken.

    Args:
        source: A path, the encoded bytes, or a binary file object.
        name: What errors call the picture; the path by default.

    Raises:
        FileNotFoundError: The path does not exist.
        BrokenImageError: Not an image, truncated, of an unreadable kind, or above 100 million pixels.
    """
    if isinstance(source, str | Path):
        name = name or str(source)
        if not Path(source).exists():
            raise FileNotFoundError(f"{name} does not exist")
    name = name or "the image"
    try:
        if isinstance(source, str | Path):
            source = Path(source).read_bytes()
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(stream, formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {_MAX_PIXELS:,}")
            image.load()
            return ImageOps.exif_transpose(_to_rgb(image))
    except UnidentifiedImageError:
        raise BrokenImageError(name, "not a JPEG, PNG, WebP, TIFF, BMP or GIF file") from None
    except Exception as error:  # Pillow's plugins raise nearly every kind of exception on damaged files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BrokenImageError(name, " ".join(reason.split()) or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        pixels = np.asarray(image, dtype=np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"grey values from {pixels.min()} to {pixels.max()} do not fit 16 bits")
        rgb = Image.fromarray(((pixels + 128) // 257).astype(np.uint8)).convert("RGB")
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    else:
        rgb = image.convert("RGBA").convert("RGB") if image.mode in ("P", "PA") else image.convert("RGB")
    rgb.info = dict(image.info)
    exif = image.getexif()
    if exif:
        rgb.getexif().update(exif)
    return rgb


def is_image(name: str) -> bool:
    """Whether a file of this name should be a picture, by its suffix."""
    return name.lower().endswith(SUFFIXES)


def choose_images(names: Iterable[str], where: str) -> list[str]:
    """The names of pictures among those of files; a warning counts the others by their suffix.

    Raises:
        ValueError: None is a picture; the sentence calls the place ``where``.
    """
    chosen, others = [], Counter()
    for name in names:
        if is_image(name):
            chosen.append(name)
        elif not name.endswith("/"):
            others[PurePosixPath(name).suffix.lower() or "no suffix"] += 1
    if not chosen:
        raise ValueError(f"{where} holds no images ({', '.join(SUFFIXES)})")
    if others:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(5))
        _LOG.warning("%s: left out %d files that are no images (%s)", where, others.total(), counts)
    return chosen


def list_images(paths: Iterable[str | Path]) -> list[Path]:
    """Image files among ``paths``, in their order; a folder stands for every image below it, sorted by name.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: A folder holds no image, or there are no paths.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if path.is_dir():
            found += [path / name for name in choose_images(list_files(path), str(path))]
        else:
            found.append(path)
    if not found:
        raise ValueError("name at least one picture or folder of pictures")
    return found


def read_images(paths: Iterable[str | Path]) -> Iterator[tuple[str, Image.Image]]:
    """Read the pictures that ``list_images`` finds one by one, each with its path.

    Unreadable ones in a folder are skipped, named and counted in warnings of the logger ``crate_transformer.data``.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: A picture that ``paths`` names itself is unreadable (``BrokenImageError``), every one of a folder
            is, or there are none.
    """
    paths = [Path(path) for path in paths]
    found, skipped = list_images(paths), 0
    for path in found:
        try:
            picture = read_image(path)
        except (BrokenImageError, FileNotFoundError) as error:  # a link in a folder may lead nowhere
            if path in paths:
                raise
            _LOG.warning("skipped: %s", error)
            skipped += 1
        else:
            yield str(path), picture
    if skipped == len(found):
        raise ValueError(f"none of the {skipped} images in {', '.join(map(str, paths))} is readable")
    if skipped:
        _LOG.warning("%d of %d pictures are unreadable and were skipped", skipped, len(found))
