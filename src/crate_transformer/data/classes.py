"""Class names: readable names for class folders, and matching of labels between data sets by name."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from crate_transformer.data.files import read_bytes
from crate_transformer.data.wordnet import wordnet_words
from crate_transformer.storage import as_record, json_limit, parse_json

_LOG = logging.getLogger("crate_transformer.data")
_FILE = "classes.json"


def relabelled(labels: Sequence[int], classes: Sequence[str], known: Sequence[str], where: str) -> list[int]:
    """Convert labels that index ``classes`` to labels that index ``known``, in any Unicode normal form.

    Raises:
        ValueError: Some of the classes are not in ``known``; the message calls the data ``where``.
    """
    places = {normalize("NFC", name): label for label, name in enumerate(known)}
    unknown = sorted(name for name in classes if normalize("NFC", name) not in places)
    if unknown:
        more = f" and {len(unknown) - 5} others" if len(unknown) > 5 else ""
        raise ValueError(f"{where} has unknown classes: {', '.join(unknown[:5])}{more}")
    new = [places[normalize("NFC", name)] for name in classes]
    return [new[label] for label in labels]


def same_names(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether these are the same classes in the same order, in any Unicode normal form."""
    return [normalize("NFC", name) for name in names] == [normalize("NFC", name) for name in others]


def class_words(path: Path, names: Sequence[str], prefix: str, folders: Sequence[str]) -> tuple[str, ...]:
    """A readable name for each class folder: from the first ``classes.json`` found beside the folders, in ``path`` (a
    folder or zip file that contains ``names``) or beside ``path``; else, for folders named by WordNet ids, ImageNet's
    class name; else the name of the folder.

    If the file gives the same name to several folders, the name of the folder is appended.

    Raises:
        ValueError: The file does not map folders to names.
    """
    places = [(path, name) for name in (f"{prefix}{_FILE}", _FILE) if name in names]
    if (path.parent / _FILE).is_file():
        places.append((path.parent, _FILE))
    for container, name in places:
        where = f"{container}/{name}"
        words = as_record(parse_json(read_bytes(container, name, limit=json_limit()), where), dict[str, str], where)
        words = {normalize("NFC", folder): word for folder, word in words.items()}
        missing = [folder for folder in folders if folder not in words]
        if missing:
            _LOG.warning("%s is not used: it has no names for %s", where, ", ".join(map(repr, missing[:3])))
            continue
        return told_apart(words, folders)
    words = wordnet_words(folders)
    return tuple(folders) if words is None else told_apart(words, folders)


def told_apart(words: Mapping[str, str], folders: Sequence[str]) -> tuple[str, ...]:
    """The name of each folder; a name shared by several folders is followed by the folder."""
    count = Counter(words.values())
    return tuple(words[f] if count[words[f]] == 1 else f"{words[f]} ({f})" for f in folders)
