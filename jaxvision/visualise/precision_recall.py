"""How precision falls as more is found, for each class."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style
from jaxvision.visualise.annotation_overlay import class_colour

_LISTED = 20
"""Classes that have a curve; of more the lowest, which are those to look at."""


def precision_recall(
    curves: np.ndarray, average_precision: Mapping[str, float]
) -> Figure:
    """A curve for each class, the lowest average precision first in the legend.

    curves: [C,P], the precision at a recall of 1/P … 1, NaN for a class without an
    example.  average_precision: of the C classes by their names.

    Raises `UsageError` for another number of curves than of classes, or none.
    """
    names = list(average_precision)
    values = np.array([average_precision[name] for name in names], float)
    check(
        (
            curves.ndim == 2 and len(curves) == len(names) > 0,
            f"curves must be [{len(names)},P], one for each class and at least one, "
            f"got {curves.shape}",
        )
    )
    order = np.argsort(values, kind="stable")  # NaN comes last
    order = order[np.isfinite(values[order])][:_LISTED]
    axis = style.panels(1, width=6.4, height=4.4)[0]
    recall = np.arange(1, curves.shape[1] + 1) / curves.shape[1]
    for k in order:
        name = style.plain(style.shorten(names[k], 24))
        colour = np.array(class_colour(int(k))) / 255
        axis.plot(
            recall, curves[k], color=colour, lw=1.3, label=f"{values[k]:.1%}  {name}"
        )
    axis.set(xlim=(0, 1), ylim=(0, 1.02))
    style.label(axis, x="recall", y="precision")
    few = len(order) < np.isfinite(values).sum()
    lowest = f", the {_LISTED} lowest of {len(names)} classes" if few else ""
    style.title(axis, f"precision and recall{lowest}")
    if len(order):
        axis.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            fontsize=style.SMALL,
            labelcolor=style.INK,
        )
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
