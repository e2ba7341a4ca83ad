"""Images in rows and columns, and maps over them."""

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from crate_transformer.inspection import LUMINANCE
from crate_transformer.reports.style import DPI, INK, MAP_COLOURS, OUTLINE, WIDTH

MAX_INCHES = 1.8
MIN_WIDTH = 3.0  # leaves room for a title over a single narrow image
GAP, EDGE = 0.05, 0.1  # inches between tiles and around them
LARGE_LETTER, LETTER, SMALL_LETTER, LINE = 0.1, 0.083, 0.066, 0.17  # inches; of DejaVu Sans, generously
LARGE_LINE = 0.24
SMALL = 8.5  # points


def resize(image: UInt8[np.ndarray, "height width 3"], side: int) -> UInt8[np.ndarray, "tile_height tile_width 3"]:
    """The image resized to a longer side of ``side`` pixels, with bicubic interpolation."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def overlay(
    image: UInt8[np.ndarray, "height width 3"],
    heat: Float[np.ndarray, "rows columns"],
    side: int,
    limits: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "tile_height tile_width 3"]:
    """An interpolated map over the image in dark grey, scaled by ``limits`` or from its smallest to its largest value.

    A constant map, or one without finite values, gives the dark image.
    """
    picture = resize(image, side)
    heat = np.nan_to_num(heat.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (heat.min(), heat.max()) if limits is None else limits
    heat = (heat - low) / (high - low) if high > low else np.zeros_like(heat)
    smooth = resample(heat, picture.shape[1::-1], Image.Resampling.BICUBIC).clip(0, 1)
    weight = 0.8 * smooth[..., None] ** 0.7
    colour = matplotlib.colormaps[MAP_COLOURS](smooth, bytes=True)[..., :3]
    return ((1 - weight) * darken(picture) + weight * colour).round().astype(np.uint8)


def cut_out(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "rows columns"], side: int
) -> UInt8[np.ndarray, "tile_height tile_width 3"]:
    """The image inside the mask, and the image in dark grey elsewhere."""
    picture = resize(image, side)
    inside = resample(mask.astype(np.float32), picture.shape[1::-1], Image.Resampling.BILINEAR) > 0.5
    return np.where(inside[..., None], picture, darken(picture))


def darken(picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 1"]:
    """Dark grey, on which colours and outlines stand out."""
    return (0.45 * (picture @ np.array(LUMINANCE))).astype(np.uint8)[..., None]


def resample(
    values: Float[np.ndarray, "rows columns"], size: tuple[int, ...], how: Image.Resampling
) -> Float[np.ndarray, "height width"]:
    """Values on a grid, interpolated to ``(width, height)``."""
    width, height = size
    return np.asarray(Image.fromarray(values).resize((width, height), how))


class Montage:
    """A figure with a grid of tiles that all have the aspect ratio of an image.

    The longer side of a tile has ``side`` pixels in the saved figure.

    Args:
        shape: height and width of the images.
        row_labels: texts to the left of the rows, if any.
        caption_lines: lines of text reserved under every tile.
        largest: largest length of a tile's longer side, in inches.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        shape: tuple[int, ...],
        *,
        row_labels: Sequence[str] = (),
        caption_lines: int = 0,
        largest: float = MAX_INCHES,
    ) -> None:
        letters = max((len(line) for label in row_labels for line in label.split("\n")), default=0)
        margin = EDGE + LETTER * letters
        aspect = shape[0] / shape[1]
        # Lengths are inches, in the figure and along the axes alike.
        self.tile_width = min((WIDTH - margin - EDGE) / columns - GAP, largest / max(1.0, aspect))
        self.tile_height = aspect * self.tile_width
        self.side = round(DPI * max(self.tile_width, self.tile_height))
        self.across, self.down = self.tile_width + GAP, self.tile_height + GAP + LINE * caption_lines
        self.letters = max(4, int(self.tile_width / SMALL_LETTER))
        self.end = (columns * self.across - GAP, rows * self.down - GAP)
        self.width = max(MIN_WIDTH, margin + self.end[0] + EDGE)
        self.left = margin + (self.width - margin - self.end[0] - EDGE) / 2
        self.label_lines = 0
        self.figure = Figure(facecolor="white")
        self.axes = self.figure.subplots()
        self.axes.set(xticks=[], yticks=[])
        self.axes.grid(visible=False)
        self.axes.spines[:].set_visible(False)
        self.axes.tick_params(length=0)
        if row_labels:
            self.axes.set_yticks([row * self.down + self.tile_height / 2 for row in range(rows)], row_labels)

    def draw(self, row: int, column: int, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Draw an image in a tile."""
        left, top = column * self.across, row * self.down
        extent = (left, left + self.tile_width, top + self.tile_height, top)
        self.axes.imshow(picture, extent=extent, interpolation="antialiased")

    def outline(
        self,
        row: int,
        column: int,
        mask: Bool[np.ndarray, "rows columns"],
        *,
        strong: bool = True,
        colour: str = OUTLINE,
        dash: str = "solid",
    ) -> None:
        """Draw the outline of a mask, of any resolution, on a tile; thin and white unless ``strong``."""
        if not mask.any():
            return
        size = tuple(
            max(2, round(self.side * length / max(self.tile_width, self.tile_height)))
            for length in (self.tile_width, self.tile_height)
        )
        smooth = resample(mask.astype(np.float32), size, Image.Resampling.BILINEAR).copy()
        smooth[[0, -1]] = 0  # closes outlines at the border of the image
        smooth[:, [0, -1]] = 0
        x = column * self.across + np.linspace(0, self.tile_width, size[0])
        y = row * self.down + np.linspace(0, self.tile_height, size[1])
        width, colour = (1.8, colour) if strong else (0.9, "white")
        lines = self.axes.contour(x, y, smooth, levels=[0.5], colors=[colour], linewidths=[width], linestyles=[dash])
        lines.set_path_effects([withStroke(linewidth=width + 1.2, foreground=INK)])

    def mark(self, row: int, column: int, across: float, down: float, shape: str) -> None:
        """Mark a place of a tile, from (0, 0) to (1, 1), by a circle ("o") or a cross ("x"); NaN marks nothing."""
        x, y = column * self.across + across * self.tile_width, row * self.down + down * self.tile_height
        size = {"o": 13, "x": 9}[shape]
        for colour, width in ((INK, 4.0), (OUTLINE if shape == "o" else "white", 2.0)):
            self.axes.plot(x, y, shape, color=colour, markersize=size, markerfacecolor="none", markeredgewidth=width)

    def column_label(self, column: int, text: str) -> None:
        """Write above a column, wrapped to its width."""
        lines = textwrap.wrap(text, self.letters)
        self.label_lines = max(self.label_lines, len(lines))
        middle = column * self.across + self.tile_width / 2
        self.axes.text(middle, -GAP, "\n".join(lines), ha="center", va="bottom", fontsize=SMALL)

    def caption(self, row: int, column: int, text: str) -> None:
        """Write under a tile."""
        middle, below = column * self.across + self.tile_width / 2, row * self.down + self.tile_height + GAP / 2
        self.axes.text(middle, below, textwrap.fill(text, self.letters), ha="center", va="top", fontsize=SMALL)

    def finish(self, title: str = "", note: str = "") -> Figure:
        """The figure, with a title above and a note below."""
        self.axes.set(xlim=(0, self.end[0]), ylim=(self.end[1], 0))
        title_lines = textwrap.wrap(title, int(self.width / LARGE_LETTER))
        note_lines = textwrap.wrap(note, int(self.width / SMALL_LETTER))
        tiles_width, tiles_height = self.end
        top = EDGE + LARGE_LINE * len(title_lines) + LINE * self.label_lines
        bottom = EDGE + LINE * len(note_lines)
        height = top + tiles_height + bottom
        self.figure.set_size_inches(self.width, height)
        self.axes.set_position(
            (self.left / self.width, bottom / height, tiles_width / self.width, tiles_height / height)
        )
        if title:
            self.figure.suptitle("\n".join(title_lines), y=1 - EDGE / 2 / height, va="top")
        if note:
            self.figure.supxlabel("\n".join(note_lines), y=EDGE / 2 / height, va="bottom", fontsize=SMALL)
        return self.figure
