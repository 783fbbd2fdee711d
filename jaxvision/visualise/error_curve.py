"""How many objects have an error of at most so much."""

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style


def error_curve(curve: np.ndarray, failure: float, auc: float, what: str) -> Figure:
    """The share of objects against their error.

    Args:
      curve: [2,n], errors and shares, as `metrics.landmarks.measure` returns them.
      failure: the error that counts as failed, which is marked.
      auc: the area up to there, by that of a perfect curve.
      what: the error, for the axis.
    """
    check(
        (
            curve.ndim == 2 and len(curve) == 2 and curve.shape[1] > 1,
            f"curve must be [2,n], errors and shares, got {curve.shape}",
        )
    )
    axis = style.panels(1, width=5.4, height=3.8)[0]
    axis.plot(*curve, color=style.BLUE, lw=1.5)
    axis.axvline(failure, color=style.PALE, lw=0.8, ls="--")
    axis.set(xlim=(0, curve[0, -1]), ylim=(0, 1.02))
    style.label(axis, x=what, y="share of objects")
    style.title(axis, f"errors of objects: area {auc:.1%} up to {failure:g}")
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
