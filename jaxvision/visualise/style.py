"""How every picture looks, and how it reaches the disk."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from jaxvision import files
from jaxvision.errors import UsageError
from jaxvision.visualise import fonts

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow
# (unreadable on white): https://jfly.uni-koeln.de/color/
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE, BLACK = "#CC79A7", "#56B4E9", "#E69F00", "#000000"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK)
# Many sets have ten classes.  Black is no colour to draw on images with.
CLASSES = (*CYCLE[:-1], "#6A3D9A", "#8B5A2B", "#B8A800", "#7FD13B")

INK = "#333333"
PALE = "#8A8A8A"
RULE = "#E4E4E4"
SMALL, NORMAL, LARGE = 8, 9, 11
DPI = 150


def panels(count: int, *, width: float = 4.4, height: float = 3.4) -> list[Axes]:
    """`count` axes with a light grid in one new figure, two or three in a row.

    `width` and `height` are those of one panel, in inches.  Styles are set on the axes
    and not through `rcParams`, which would change the caller's own figures.
    """
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure = Figure(
        (columns * width, rows * height),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.05),
    )
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(PALE)
        axis.tick_params(
            which="both", color=PALE, labelcolor=INK, labelsize=SMALL, grid_color=RULE
        )
        axis.grid(True, linewidth=0.8)
        axis.set_axisbelow(True)
    return axes


def title(axis: Axes, text: str) -> None:
    axis.set_title(plain(text), loc="left", fontsize=LARGE, color=INK, pad=8)


def label(axis: Axes, *, x: str = "", y: str = "") -> None:
    axis.set_xlabel(plain(x), fontsize=NORMAL, color=INK)
    axis.set_ylabel(plain(y), fontsize=NORMAL, color=INK)


def image_rule(
    image: np.ndarray, what: str = "images", axes: str = "HW"
) -> tuple[bool, str]:
    """A rule of `errors.check`: uint8 [axes,C] of one channel (grey) or three (RGB)."""
    return (
        image.ndim == len(axes) + 1
        and image.shape[-1] in (1, 3)
        and image.dtype == np.uint8,
        f"{what} must be uint8 [{','.join(axes)},1 or 3], got {image.dtype} "
        f"{image.shape}",
    )


def as_bytes(images: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """What a model is given, [...,C], as uint8 that can be drawn, [...,1 or 3].

    The range of each channel becomes that which it has in `stored`, uint8 [...,C], the
    same images before they were normalised; the whole range of bytes where those have
    other channels.  What is neither one channel nor three is drawn as their mean.
    """
    if images.dtype == np.uint8:
        return images
    images = images.astype(np.float32)
    if images.shape[-1] not in (1, 3):
        images = images.mean(axis=-1, keepdims=True)
    axes = tuple(range(images.ndim - 1))
    low, high = images.min(axes), images.max(axes)
    if stored.shape[-1] != images.shape[-1]:
        stored = np.array([[0], [255]])
    axes = tuple(range(stored.ndim - 1))
    darkest, brightest = (
        level.astype(np.float32) for level in (stored.min(axes), stored.max(axes))
    )
    shares = (images - low) / np.maximum(high - low, 1e-6)
    return (darkest + shares * (brightest - darkest)).round().astype(np.uint8)


def draw(axis: Axes, image: np.ndarray, **options: Any) -> None:
    """An image uint8 [H,W,C] in its own brightness; the pixels of small ones show."""
    axis.imshow(
        image.squeeze(-1) if image.shape[-1] == 1 else image,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest" if max(image.shape) <= 128 else "antialiased",
        **options,
    )


def extent(
    image: np.ndarray, left: float, top: float, side: float
) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of an image in the middle of a square that its longer
    side fills, in axes whose y points downwards."""
    height, width = (n / max(image.shape[:2]) * side for n in image.shape[:2])
    left, top = left + (side - width) / 2, top + (side - height) / 2
    return left, left + width, top + height, top


def legible(text: str) -> str:
    """`text` as it can be drawn: bytes that are no UTF-8, as in names of folders, are
    replaced by `\N{REPLACEMENT CHARACTER}`."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def plain(text: str) -> str:
    """`text` for matplotlib, which would read what is between dollars as mathematics.

    Whatever a user may have named goes through here: classes, runs, transforms, titles.
    """
    return legible(text).replace("$", r"\$")


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters, cut with an ellipsis where it is longer."""
    return text if len(text) <= width else text[: max(width - 1, 1)].rstrip() + "…"


def count(number: int, noun: str) -> str:
    """`1 mistake`, `1,234 mistakes`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` as a PNG at `path`: the whole picture, or what was there before.

    Raises `UsageError` when the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(
            f"cannot save {path.name}: the folder {path.parent} does not exist; "
            "create it first"
        )
    fonts.fit(figure)
    with files.replacing(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it was said
        figure.savefig(
            partial, format="png", dpi=DPI, facecolor="white", bbox_inches="tight"
        )
