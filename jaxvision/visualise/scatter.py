"""Predicted numbers against the true ones."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style


def agreement(
    predicted: np.ndarray, true: np.ndarray, names: Sequence[str], unit: str = ""
) -> Figure:
    """A point for each example, [N,T] both, in a panel for each of the T names.

    A perfect prediction lies on the dotted line.  Both axes have the same range.
    """
    predicted, true = np.asarray(predicted, float), np.asarray(true, float)
    check(
        (len(true) > 0, "there are no predictions to show"),
        (
            predicted.shape == true.shape == (len(true), len(names)),
            f"predictions and truth must be [N,{len(names)}], one column for each of "
            f"{', '.join(names) or 'no names'}; got {predicted.shape} and {true.shape}",
        ),
    )
    axes = style.panels(len(names), height=4.4)
    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        both = np.concatenate([predicted[:, k], true[:, k]])
        both = both[np.isfinite(both)]
        low, high = (both.min(), both.max()) if len(both) else (0.0, 1.0)
        margin = 0.05 * (high - low) or 1.0
        ends = (low - margin, high + margin)
        axis.plot(ends, ends, color=style.PALE, linestyle=":", linewidth=1.4, zorder=1)
        axis.scatter(
            true[:, k], predicted[:, k], s=14, alpha=0.35, color=style.BLUE, lw=0
        )
        axis.set(xlim=ends, ylim=ends, aspect="equal")
        style.title(axis, name)
        of = f" [{unit}]" if unit else ""
        style.label(axis, x=f"true{of}", y=f"predicted{of}")
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    return figure
