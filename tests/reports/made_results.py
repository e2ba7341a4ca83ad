"""Results of no model, for figures to draw."""

import numpy as np

from crate_transformer.inspection import FeaturePCA, MaskCut

RANDOM = np.random.default_rng(0)


def pictures(count: int, height: int = 24, width: int = 24) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def heats(*shape: int) -> np.ndarray:
    return RANDOM.random(shape, dtype=np.float32)


def cuts(images: int, objects: int = 3, rows: int = 6, columns: int = 6) -> MaskCut:
    masks = heats(images, objects, rows, columns) > 0.7
    masks[0] = False
    return MaskCut(
        masks=masks,
        statuses=(("small", "overlap", "uncut", "covered", "blank", "small")[:objects],)
        + (("accepted",) * objects,) * (images - 1),
        eigenvectors=heats(images, objects, rows, columns),
        eigenvalues=heats(images, objects),
        errors=np.zeros((images, objects)),
        seeds=np.zeros((images, objects, 2), dtype=int),
        layer=11,
        tau=0.15,
        patch_size=(4, 4),
    )


def components(images: int, rows: int = 6, columns: int = 6, removed: bool = True) -> FeaturePCA:
    foreground = np.ones((images, rows, columns), dtype=bool) if not removed else heats(images, rows, columns) > 0.5
    foreground[0] = False
    return FeaturePCA(
        first=heats(images, rows, columns),
        foreground=foreground,
        colours=heats(images, rows, columns, 3) * foreground[..., None],
        first_fraction=0.21,
        colour_fractions=np.array([0.3, 0.2, 0.1]),
        nothing_found=~foreground.any(axis=(1, 2)),
        layer=11,
        background_removed=removed,
        patch_size=(4, 4),
    )


MASK = np.zeros((24, 24), dtype=bool)
MASK[6:12, 12:18] = True
