"""Photographs that are part of the scikit-image and scikit-learn wheels, by name, without any download."""

from importlib.resources import as_file, files
from types import MappingProxyType

from PIL import Image

from crate_transformer.data.decode import read_image

_SKIMAGE, _SKLEARN = ("skimage", "data"), ("sklearn", "datasets", "images")
_TABLE = {
    "cat": (_SKIMAGE, "chelsea.png", "Chelsea, by Stefan van der Walt, CC0"),
    "astronaut": (_SKIMAGE, "astronaut.png", "Eileen Collins, NASA, public domain"),
    "coffee": (_SKIMAGE, "coffee.png", "by Rachel Michetti, Pikolo Espresso Bar, CC0"),
    "rocket": (_SKIMAGE, "rocket.jpg", "DSCOVR on Falcon 9, SpaceX, public domain"),
    "motorcycle": (_SKIMAGE, "motorcycle_left.png", "Middlebury 2014 stereo benchmark, Scharstein et al."),
    "flower": (_SKLEARN, "flower.jpg", "by vultilion (Flickr), CC BY 2.0"),
    "temple": (_SKLEARN, "china.jpg", "by danielbuechele (Flickr), CC BY 2.0"),
    "coins": (_SKIMAGE, "coins.png", "Greek coins from Pompeii, Brooklyn Museum, no known restrictions"),
    "camera": (_SKIMAGE, "camera.png", "by Lav Varshney, CC0"),
    "tissue": (
        _SKIMAGE,
        "ihc.png",
        "colonic glands, Center for Microscopy and Molecular Imaging, no known restrictions",
    ),
    "hubble": (_SKIMAGE, "hubble_deep_field.jpg", "Hubble eXtreme Deep Field, NASA, public domain"),
    "moon": (_SKIMAGE, "moon.png", "surface of the moon, from scikit-image"),
    "brick": (_SKIMAGE, "brick.png", "CC0Textures Bricks25, CC0"),
    "grass": (_SKIMAGE, "grass.png", "by Linolafett (DeviantArt), CC0"),
    "gravel": (_SKIMAGE, "gravel.png", "CC0Textures Gravel04, CC0"),
}
PHOTOGRAPHS = MappingProxyType({name: note for name, (_, _, note) in _TABLE.items()})
"""Name -> description, author and licence."""


def photograph(name: str) -> Image.Image:
    """One of ``PHOTOGRAPHS`` as an RGB image."""
    if name not in _TABLE:
        raise ValueError(f"there is no photograph {name!r}: choose one of {', '.join(_TABLE)}")
    (package, *folders), file, _ = _TABLE[name]
    with as_file(files(package).joinpath("/".join([*folders, file]))) as path:
        return read_image(path)
