"""ImageNet as it lies on disks: folders named by WordNet ids, and words for them."""

import json
from pathlib import Path

import pytest

from crate_transformer.data import imagenet_words, open_images

SAMPLES = Path(__file__).parents[3] / "shared/data/imagenet_samples"


def test_the_tables_hold_every_class_once_in_order():
    small, large = imagenet_words("1k"), imagenet_words("21k")
    assert (len(small), len(large)) == (1000, 21844)
    assert list(small) == sorted(small) and list(large) == sorted(large) and small.keys() <= large.keys()
    assert list(small.values())[:2] == ["tench", "goldfish"] and list(small.values())[-1] == "toilet tissue"
    assert all(words.isprintable() and words.strip() == words for words in large.values())
    with pytest.raises(TypeError):
        small["n01440764"] = "carp"


@pytest.mark.data
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/data is absent")
def test_the_words_are_those_of_the_samples():
    names = [file.stem.partition("_")[::2] for file in SAMPLES.glob("n*.jpg")]
    assert len(names) > 200
    for wordnet_id, name in names:
        assert imagenet_words("1k")[wordnet_id].partition(",")[0].lower() == name.replace("_", " ").lower(), name


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("n01440764", "n02012849", "n03126707"), ("tench", "crane (n02012849)", "crane (n03126707)")),
        (("n01440764", "n02012849"), ("tench", "crane (n02012849)")),  # the same whichever others are there
        (("n01440764", "n00007846"), ("tench", "person")),  # of ImageNet-21k
        (("n01440764", "n99999999"), ("n01440764", "n99999999")),
        (("n01440764", "others"), ("n01440764", "others")),
    ],
)
def test_folders_named_by_wordnet_get_words(make_images, folders, classes):
    folder = make_images("set", dict.fromkeys(folders, 1))
    images = open_images(folder)
    assert dict(zip(sorted(folders), images.classes, strict=True)) == dict(zip(folders, classes, strict=True))
    (folder / "classes.json").write_text(json.dumps({name: f"my {name}" for name in folders}))
    assert open_images(folder).classes == tuple(f"my {name}" for name in sorted(folders))
