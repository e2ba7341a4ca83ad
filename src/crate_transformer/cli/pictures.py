"""The pictures that a command was given, one by one; what cannot be used is left out, named and counted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.cli.terminal import complain

if TYPE_CHECKING:
    from PIL import Image

_NAMED = 5


class Pictures:
    """Names and pictures, to be gone through any number of times.

    Args:
        paths: pictures, or folders of pictures.
        title: stands before the progress; none is shown unless given.
        check: raises ``UnfitImageError`` for a picture that the model cannot take.
        output: the folder that the command writes into.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: there are no pictures, or ``output`` is one of their folders.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        title: str = "",
        check: Callable[["Image.Image"], object] | None = None,
        output: Path | None = None,
    ) -> None:
        from crate_transformer.data import list_images

        if output and output.resolve() in {path.resolve() for path in paths}:
            raise ValueError(f"results would lie among the pictures of {output}: name another --output")
        self.given, self.title, self.check = set(paths), title, check
        self.paths = list(dict.fromkeys(list_images(paths)))
        self.left_out: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, "Image.Image"]]:
        for path in self.one_by_one():
            if picture := self.read(path):
                yield str(path), picture

    def one_by_one(self) -> Iterator[Path]:
        """The paths, with the progress of whoever goes through them."""
        from crate_transformer.progress import tracked

        return tracked(self.title, self.paths, len(self.paths), show=bool(self.title))

    def read(self, path: Path) -> "Image.Image | None":
        """The picture, or ``None`` where it was left out."""
        from crate_transformer.data import BrokenImageError, read_image
        from crate_transformer.inspection.look import UnfitImageError

        try:
            picture = read_image(path)
            if self.check:
                self.check(picture)
        except (BrokenImageError, FileNotFoundError, UnfitImageError) as error:  # a link may lead nowhere
            reason = f"{path} {error}" if isinstance(error, UnfitImageError) else str(error)
            if len(self.paths) == 1:
                raise ValueError(reason) from error
            if str(path) not in self.left_out:
                complain(f"left out: {reason}")
            self.left_out[str(path)] = reason
            if len(self.left_out) == len(self.paths):
                raise ValueError(
                    f"none of the {len(self.paths)} pictures can be used; the last one: {reason}"
                ) from error
            return None
        return picture

    def ending(self) -> int:
        """Say how many were left out; the exit code is 1 if the command named one of them itself, else 0."""
        if self.left_out:
            complain(f"{len(self.left_out)} of {len(self.paths)} pictures were left out")
        return int(any(Path(name) in self.given for name in self.left_out))


def listing(names: Sequence[str]) -> str:
    """The first five names, and how many others there are."""
    more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
