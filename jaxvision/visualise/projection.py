"""Examples as points in a plane, coloured by their classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style
from jaxvision.visualise.annotation_overlay import class_colour

_NAMED = 20
"""Classes, at most, that a legend has room for."""


def projected(
    points: Sequence[tuple[str, np.ndarray]],
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """A panel for each of several `(title, points [N,2])` of the same N examples.

    labels: int [N], the class of each, which its colour shows.
    """
    labels = np.asarray(labels)
    check(
        *(
            (
                places.shape == (len(labels), 2),
                f"the points of {title} must be [{len(labels)},2], one for each label, "
                f"got {places.shape}",
            )
            for title, places in points
        ),
    )
    axes = style.panels(len(points), width=5.2, height=4.6)
    there = [int(k) for k in np.unique(labels)]
    for axis, (title, places) in zip(axes, points, strict=True):
        for k in there:
            own = places[labels == k]
            colour = np.array(class_colour(k)) / 255
            name = style.plain(style.shorten(class_names[k], 16))
            axis.scatter(
                own[:, 0], own[:, 1], s=7, color=colour, lw=0, alpha=0.75, label=name
            )
            if len(there) <= _NAMED and len(own):
                x, y = np.median(own, axis=0)
                axis.text(
                    *(x, y, name),
                    fontsize=style.SMALL,
                    color=style.INK,
                    ha="center",
                    va="center",
                    bbox=dict(facecolor="white", alpha=0.7, lw=0, pad=1),
                )
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
        style.title(axis, title)
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    return figure
