"""What a position of a map sees of the image."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxvision.errors import check
from jaxvision.visualise import style

Box = tuple[float, float, float, float]


class Seen(NamedTuple):
    """A panel."""

    effective: np.ndarray
    """[H,W]: how much each pixel counts (`ops.receptive_field.effective_field`)."""
    theoretical: Box
    """x_min, y_min, x_max, y_max; may reach beyond the image."""
    side: float
    """Of a square with as many pixels as count in effect."""


def receptive_field(panels: Mapping[str, Seen]) -> Figure:
    """A panel for each map, by its title: brightness is how much a pixel counts, as a
    root of it, and a frame says what is seen in theory."""
    check((bool(panels), "there are no maps to show"))
    axes = style.panels(len(panels), width=3.6, height=3.9)
    for axis, (title, seen) in zip(axes, panels.items(), strict=True):
        height, width = seen.effective.shape
        strength = np.sqrt(seen.effective / max(float(seen.effective.max()), 1e-30))
        axis.imshow(
            strength,
            cmap="magma",
            extent=(0, width, height, 0),
            interpolation="nearest",
        )
        left, top, right, bottom = (
            min(max(edge, -0.04 * most), 1.04 * most)
            for edge, most in zip(seen.theoretical, (width, height) * 2, strict=True)
        )
        axis.add_patch(
            Rectangle(
                (left, top), right - left, bottom - top,
                fill=False, edgecolor=style.SKY, linewidth=1.5, clip_on=False,
            )
        )  # fmt: skip
        x_min, y_min, x_max, y_max = seen.theoretical
        size = f"{x_max - x_min:g}×{y_max - y_min:g}"
        words = f"in theory {size} px, in effect {seen.side:.0f}"
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.grid(False)
        style.title(axis, title)
        style.label(axis, x=words)
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    return figure
