"""``crate check-data``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from crate_transformer.cli.terminal import say

if TYPE_CHECKING:
    from crate_transformer.data.check import DataCheck, PartCheck

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Command:
    """Decode every image of a labelled data set and report problems before training.

    Lists broken and empty files, images with the same pixels, and leaks: images that are in both the training and the
    held-out part. Counts classes, formats, colour modes and sizes, and measures the decoding speed. The exit code is 0
    if all images can be read and none leaks, 1 otherwise, and 2 if the data set cannot be opened.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """Folder, zip file or folder of tar files, as for 'crate train'."""
    workers: int = 0
    """Decoding processes; 0 decodes in the main process."""
    output: Path | None = None
    """JSON file for the full results, with all file names."""
    overwrite: bool = False
    """Replace an output file that was made from something else."""

    def __call__(self) -> int:
        from crate_transformer.cli.outputs import check_source
        from crate_transformer.data.check import check_images
        from crate_transformer.data.layout import Split, find
        from crate_transformer.progress import ProgressLine
        from crate_transformer.storage import write_json

        if self.workers < 0:
            raise ValueError(f"--workers is {self.workers}: it must be at least 0")
        if self.output and not self.overwrite:
            check_source([self.output], self.output, {"checked": self.data})
        found = find(self.data)
        divided = isinstance(found, Split)
        parts = {"training": found.train, "held out": found.val} if divided else {"all": found}
        with ProgressLine(f"checking {self.data}", sum(map(len, parts.values()))) as line:
            check = check_images(parts, workers=self.workers, progress=line.update)
        say(f"{self.data}: {found.how}" if divided else f"{self.data}: no training and held-out parts")
        show(check)
        if self.output:
            write_json(self.output, {"checked": self.data, "is_clean": check.is_clean, **vars(check)})
            say(f"full results: {self.output}")
        return 0 if check.is_clean else 1


def show(check: "DataCheck") -> None:
    """Print the results, with at most five names of each kind."""
    from crate_transformer.reports import print_table

    facts = {part: facts_of(found) for part, found in check.parts.items()}
    names = next(iter(facts.values()))
    print_table(("", *facts), [(name, *(of_part[name] for of_part in facts.values())) for name in names])
    for part, found in check.parts.items():
        say_some(f"{part}, empty", found.empty)
        say_some(f"{part}, broken", [f"{name} ({reason})" for name, reason in found.broken.items()])
        agreeing = [group for group in found.duplicates if group not in found.contradictions]
        say_some(f"{part}, the same pixels", [" = ".join(group) for group in agreeing])
        say_some(f"{part}, the same pixels in different classes", [" = ".join(group) for group in found.contradictions])
    say_some("leak, the same pixels in both parts", [" = ".join(group) for group in check.leaks])
    if check.images_per_second:
        say(f"one process decodes about {check.images_per_second:,.0f} images per second and crops them to 224 x 224")
    say("clean: all images can be read, none is in two parts" if check.is_clean else "not clean: see above")


def facts_of(part: "PartCheck") -> dict[str, str]:
    """One column of the table."""
    least, most = min(part.classes.values()), max(part.classes.values())
    sides = {"width": part.widths, "height": part.heights}
    return {
        "images": f"{part.images:,}",
        "classes": f"{len(part.classes):,}",
        "images per class": f"{least:,} to {most:,}",
        "megabytes": f"{part.megabytes:,.1f}",
        "empty files": f"{len(part.empty):,}",
        "broken files": f"{len(part.broken):,}",
        "groups with the same pixels": f"{len(part.duplicates):,}",
        "formats": counted(part.formats),
        "colour modes": counted(part.colour_modes),
        **{name: f"{of[0]:,} to {of[2]:,}, median {of[1]:,.0f}" if of else "" for name, of in sides.items()},
    }


def counted(kinds: dict[str, int]) -> str:
    """Such as ``"JPEG 12, PNG 3"``."""
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())


def say_some(what: str, names: list[str]) -> None:
    """One line for each of the first five names, and one with the number of others."""
    say(*(f"{what}: {name}" for name in names[:_NAMED]))
    if len(names) > _NAMED:
        say(f"{what}: {len(names) - _NAMED:,} more")
