"""Finding image files in folders and zip files, and reading them one by one."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from crate_transformer.data.decode import BrokenImageError, read_image
from crate_transformer.data.files import list_files, read_bytes
from crate_transformer.storage.limits import memory_limit

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_LOG = logging.getLogger("crate_transformer.data")


def is_image(name: str) -> bool:
    """Whether a file is an image, by its suffix."""
    return name.lower().endswith(SUFFIXES)


def choose_images(names: Iterable[str], where: str) -> list[str]:
    """The image files among ``names``; a warning counts the others by suffix.

    Raises:
        ValueError: There are no images; the message calls the location ``where``.
    """
    chosen, others = [], Counter()
    for name in names:
        if is_image(name):
            chosen.append(name)
        elif not name.endswith("/"):
            others[PurePosixPath(name).suffix.lower() or "no suffix"] += 1
    if not chosen:
        raise ValueError(f"{where} contains no images ({', '.join(SUFFIXES)})")
    if others:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(5))
        _LOG.warning("%s: skipped %d files that are not images (%s)", where, others.total(), counts)
    return chosen


def list_images(paths: Iterable[str | Path]) -> list[Path]:
    """Image files in ``paths``, in order; a folder is replaced by all images below it, sorted by name.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: A folder contains no images, or there are no paths.
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
        raise ValueError("give at least one image or folder of images")
    return found


def read_images(paths: Iterable[str | Path]) -> Iterator[tuple[str, Image.Image]]:
    """Read the images found by ``list_images`` one by one, each with its path.

    Unreadable images in a folder are skipped; the logger ``crate_transformer.data`` names and counts them.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: An image given in ``paths`` is unreadable (``BrokenImageError``), all images of a folder are, or
            there are none.
    """
    paths = [Path(path) for path in paths]
    found, skipped = list_images(paths), 0
    for path in found:
        try:
            picture = read_image(path)
        except (BrokenImageError, FileNotFoundError) as error:  # a link in a folder may be broken
            if path in paths:
                raise
            _LOG.warning("skipped: %s", error)
            skipped += 1
        else:
            yield str(path), picture
    if skipped == len(found):
        raise ValueError(f"none of the {skipped} images in {', '.join(map(str, paths))} is readable")
    if skipped:
        _LOG.warning("%d of %d images are unreadable and were skipped", skipped, len(found))


def read_picture(
    container: Path, name: str, at_least: Callable[[int, int], tuple[float, float]] | None = None
) -> Image.Image:
    """An image in a folder or zip file, decoded by ``read_image``; every error is a ``BrokenImageError``."""
    return read_image(read_content(container, name), name=f"{container}/{name}", at_least=at_least)


def read_content(container: Path, name: str) -> bytes:
    """The bytes of an image file in a folder or zip file; every error is a ``BrokenImageError``."""
    shown, limit = f"{container}/{name}", memory_limit() // 4
    try:
        return read_bytes(container, name, limit=limit)
    except (OSError, ValueError) as error:
        raise BrokenImageError(shown, str(error).removeprefix(f"{shown} ")) from error
