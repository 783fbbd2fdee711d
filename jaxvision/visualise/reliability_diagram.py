"""Whether a classifier is right as often as it says."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from jaxvision.errors import check
from jaxvision.visualise import style


def reliability(
    count: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, error: float
) -> Figure:
    """The reliability diagram of Guo et al. 2017 (https://arxiv.org/abs/1706.04599,
    figure 1), above the number of examples in each bin.

    count: int [M], the examples in each of M equal intervals of confidence, which is
    the probability of the predicted class; confidence and accuracy: [M] in 0..1, their
    means over the examples of a bin, of any value where there are none; error: the
    expected calibration error.

    Raises `UsageError` where the shapes differ or there are no examples.
    """
    count, confidence, accuracy = map(np.asarray, (count, confidence, accuracy))
    check(
        (
            count.ndim == 1 and count.shape == confidence.shape == accuracy.shape,
            "count, confidence and accuracy must be [M] each, got "
            f"{count.shape}, {confidence.shape} and {accuracy.shape}",
        ),
        (bool(count.any()), "there are no examples to show"),
    )
    bins, filled, shares = len(count), count > 0, count / count.sum()
    confidence, accuracy = (np.where(filled, x, 0) for x in (confidence, accuracy))
    left = np.arange(bins) / bins
    bar: dict[str, Any] = {"width": 1 / bins, "align": "edge"}
    hatched = bar | {"fill": False, "hatch": "////", "ec": style.VERMILION, "lw": 0}
    gap, words = confidence - accuracy, "gap to the confidence"
    axis, below = style.panels(2, height=3.8)
    axis.bar(left, accuracy, color=style.BLUE, ec="white", label="accuracy", **bar)
    axis.bar(left, gap, bottom=accuracy, label=words, **hatched)
    axis.plot([0, 1], [0, 1], "--", color=style.PALE, label="if calibrated")
    style.title(axis, f"expected calibration error {100 * error:.2f} %")
    style.label(axis, x=f"confidence, in {bins} bins", y="accuracy")

    below.bar(left, shares, color=style.SKY, ec="white", **bar)
    for name, values, colour in (
        ("mean confidence", confidence, style.VERMILION),
        ("accuracy", accuracy, style.BLUE),
    ):
        mean = float(values @ shares)
        below.axvline(mean, color=colour, label=f"{name} {100 * mean:.2f} %")
    style.title(below, style.count(int(count.sum()), "example"))
    style.label(below, x="confidence", y="share of the examples")
    for each in axis, below:
        each.set(xlim=(0, 1.01), ylim=(0, 1.01))
        each.xaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        each.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        each.legend(
            loc="upper left", frameon=False, fontsize=style.SMALL, labelcolor=style.INK
        )
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
