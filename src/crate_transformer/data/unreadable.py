"""Unreadable images: each is logged once, and too many of them raise an error."""

import logging

from torch.utils.data import get_worker_info

from crate_transformer.data.source import Samples

_LOG = logging.getLogger("crate_transformer.data")


def note_unreadable(source: Samples, found: dict[int, str]) -> None:
    """Add to ``source.unreadable``, and log each reason once.

    In a worker process they are only added; the loader reports them again in the main process.

    Raises:
        ValueError: Too many images are unreadable, see ``too_many_unreadable``.
    """
    new = {index: reason for index, reason in found.items() if index not in source.unreadable}
    source.unreadable.update(new)
    if get_worker_info() is not None:
        return
    for reason in new.values():
        _LOG.warning("skipped: %s", reason)
    if new and too_many_unreadable(source):
        names = sorted(map(source.name, source.unreadable))
        raise ValueError(
            f"{len(names)} of the {len(source):,} images of {source.where} are unreadable, more than 1%: "
            f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}; remove or repair them"
        )


def too_many_unreadable(source: Samples) -> bool:
    """Whether so many images are unreadable that the work should stop: more than 1% of the data set, of which
    ``source`` may be a part, and more than one image of a small set; or more than half of ``source``.
    """
    count, data_set = len(source.unreadable), getattr(source, "part_of", None) or len(source)
    return count > max(1, data_set / 100) or 2 * count > len(source)
