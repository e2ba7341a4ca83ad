"""Names of ImageNet's classes, whose folders are named by WordNet ids."""

import gzip
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

WORDNET_ID = re.compile(r"n\d{8}")
_FOLDER = Path(__file__).with_name("imagenet")


@cache
def imagenet_words(classes: str = "1k") -> Mapping[str, str]:
    """WordNet id -> name of each class, in the usual order, which is sorted by id.

    Args:
        classes: ``"1k"``, or ``"21k"`` for 21,844 classes, which include every list of ImageNet-21k.
    """
    text = gzip.decompress((_FOLDER / f"{classes}.txt.gz").read_bytes()).decode()
    return MappingProxyType(dict(line.split(" ", 1) for line in text.splitlines()))


def wordnet_words(ids: Iterable[str]) -> Mapping[str, str] | None:
    """The names of ImageNet-1k if it has all these ids, else those of ImageNet-21k; ``None`` if it lacks some too."""
    ids = set(ids)
    if not all(map(WORDNET_ID.fullmatch, ids)):
        return None
    return next((words for words in map(imagenet_words, ("1k", "21k")) if ids <= words.keys()), None)
