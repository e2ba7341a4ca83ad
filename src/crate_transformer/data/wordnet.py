"""Words for the classes of ImageNet, whose folders are named by the ids of WordNet."""

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
    """Each class's WordNet id and words, in the usual order of the classes, which is that of the ids.

    Args:
        classes: ``"1k"``, or ``"21k"`` for the 21,844 classes of which every list of ImageNet-21k is a part.
    """
    text = gzip.decompress((_FOLDER / f"{classes}.txt.gz").read_bytes()).decode()
    return MappingProxyType(dict(line.split(" ", 1) for line in text.splitlines()))


def wordnet_words(ids: Iterable[str]) -> Mapping[str, str] | None:
    """The words of ImageNet-1k if it has all these ids, else those of ImageNet-21k; ``None`` if that lacks some too."""
    ids = set(ids)
    if not all(map(WORDNET_ID.fullmatch, ids)):
        return None
    return next((words for words in map(imagenet_words, ("1k", "21k")) if ids <= words.keys()), None)
