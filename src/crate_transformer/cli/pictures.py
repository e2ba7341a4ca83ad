"""The images given to a command, one by one; unusable ones are skipped, named and counted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crate_transformer.cli.terminal import complain

if TYPE_CHECKING:
    from PIL import Image

_NAMED = 5


class Pictures:
    """Iterates over (name, image) pairs, any number of times.

    Args:
        paths: images, or folders of images.
        title: title of the progress bar; without one no progress is shown.
        check: raises ``UnfitImageError`` for an image that the model cannot take.
        output: the folder that the command writes to.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: there are no images, or ``output`` is one of the folders.
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
            raise ValueError(f"the results would be written among the images of {output}: choose another --output")
        self.given, self.title, self.check = set(paths), title, check
        self.paths = list(dict.fromkeys(list_images(paths)))
        self.left_out: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, "Image.Image"]]:
        for path in self.one_by_one():
            if picture := self.read(path):
                yield str(path), picture

    def one_by_one(self) -> Iterator[Path]:
        """The paths, with a progress bar."""
        from crate_transformer.progress import tracked

        return tracked(self.title, self.paths, len(self.paths), show=bool(self.title))

    def read(self, path: Path) -> "Image.Image | None":
        """The image, or ``None`` if it was skipped."""
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
                complain(f"skipped: {reason}")
            self.left_out[str(path)] = reason
            if len(self.left_out) == len(self.paths):
                raise ValueError(f"none of the {len(self.paths)} images can be used; the last one: {reason}") from error
            return None
        return picture

    def ending(self) -> int:
        """Print how many were skipped; the exit code is 1 if one of them was named on the command line, else 0."""
        if self.left_out:
            complain(f"{len(self.left_out)} of {len(self.paths)} images were skipped")
        return int(any(Path(name) in self.given for name in self.left_out))


def listing(names: Sequence[str]) -> str:
    """The first five names, and the number of others."""
    more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
