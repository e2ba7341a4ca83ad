"""What figures draw over pictures is where it was measured."""

import numpy as np
import pytest
from made_results import MASK, components, cuts, pictures
from matplotlib.colors import to_hex

from crate_transformer import reports
from crate_transformer.reports.montage import cut_out, overlay
from crate_transformer.reports.style import OUTLINE


def test_overlay_is_bright_where_the_map_is_high() -> None:
    heat = np.zeros((4, 8), dtype=np.float32)
    heat[1, 6] = 5.0
    shown = overlay(np.full((40, 80, 3), 128, dtype=np.uint8), heat, 160).sum(-1)
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert (row * 4 // shown.shape[0], column * 8 // shown.shape[1]) == (1, 6)
    assert shown.shape[1] == 2 * shown.shape[0]


@pytest.mark.parametrize("value", [0.0, 0.7, np.nan, np.inf])
def test_a_map_without_differences_shows_the_dark_picture(value: float) -> None:
    shown = overlay(np.full((8, 8, 3), 100, dtype=np.uint8), np.full((2, 2), value), 30)
    assert (shown == 45).all()


def test_cut_out_keeps_the_inside_and_greys_the_outside() -> None:
    picture = np.zeros((24, 24, 3), dtype=np.uint8)
    picture[..., 0] = 200
    shown = cut_out(picture, MASK, 120)
    scale = shown.shape[0] // 24
    assert (shown[9 * scale, 15 * scale] == [200, 0, 0]).all()
    assert (shown[2 * scale, 2 * scale] == 26).all()


def test_hidden_patches_are_grey_and_seen_ones_the_picture() -> None:
    image, made_up = np.zeros((2, 1, 24, 24, 3), dtype=np.uint8)
    image[..., 0], made_up[..., 2] = 200, 90
    masks = np.zeros((1, 4, 4), dtype=bool)
    masks[0, 1, 2] = True
    (axes,) = reports.reconstruction_figure(image, masks, made_up).axes
    whole, seen, filled = (tile.get_array() for tile in axes.images)
    patch = seen.shape[0] / 4
    assert (seen[round(1.5 * patch), round(2.5 * patch)] == 128).all()
    assert (seen[round(2.5 * patch), round(1.5 * patch)] == [200, 0, 0]).all()
    assert (whole == [200, 0, 0]).all()
    assert (filled == [0, 0, 90]).all()


def test_objects_are_outlined_where_they_are_and_empty_ones_are_called_so() -> None:
    given = cuts(2)
    given.masks[1] = False
    given.masks[1, 1, 1:3, 2:5] = True
    (axes,) = reports.maskcut_figure(pictures(2), given).axes
    lines = axes.collections
    assert len(lines) == 2  # on the picture and on its eigenvector
    left, right, _, top = axes.images[4].get_extent()
    x, y = lines[0].get_paths()[0].vertices.T
    cell = (right - left) / 6
    edges = ((x.min() - left) / cell, (x.max() - left) / cell, (y.min() - top) / cell, (y.max() - top) / cell)
    np.testing.assert_allclose(edges, (2, 5, 1, 3), atol=0.1)
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("nothing found") == 1
    assert f"small, \N{GREEK SMALL LETTER LAMDA} {given.eigenvalues[0, 0]:.2f}" in texts
    assert "uncut" in texts
    with pytest.raises(ValueError, match="3 images but masks of 2 images"):
        reports.maskcut_figure(pictures(3), given)


def test_principal_components_colour_the_foreground_and_nothing_else() -> None:
    given = components(2)
    given.foreground[1] = False
    given.foreground[1, 2, 3] = True
    given.colours[1] = 0
    given.colours[1, 2, 3] = (1, 0, 0.4)
    grey = np.full((2, 24, 24, 3), 100, dtype=np.uint8)
    (axes,) = reports.pca_figure(grey, given).axes
    shown = axes.images[-1].get_array()
    cell = shown.shape[0] / 6
    assert (shown[round(2.5 * cell), round(3.5 * cell)] == [255, 0, 102]).all()
    assert (shown[round(0.5 * cell), round(3.5 * cell)] == 45).all()
    with pytest.raises(ValueError, match="1 images but components of 2 images"):
        reports.pca_figure(grey[:1], given)


def test_outlines_lie_on_the_edge_of_the_mask() -> None:
    (axes,) = reports.samples_figure(pictures(1), ["a"], MASK[None]).axes
    left, right, _, top = axes.images[0].get_extent()
    (contours,) = axes.collections
    assert to_hex(contours.get_edgecolor()[0]).upper() == OUTLINE
    x, y = contours.get_paths()[0].vertices.T
    cell = (right - left) / 24
    edges = (x.min() - left, x.max() - left, y.min() - top, y.max() - top)
    np.testing.assert_allclose(np.array(edges) / cell, (12, 18, 6, 12), atol=0.1)
