"""The loss at rising learning rates."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from jaxvision.visualise import style


def learning_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
) -> Figure:
    """The loss of each step at its rate, the smoothed one, and the rate suggested.

    All are [N]; `suggestion` is marked by a dotted line, None: there is none.
    """
    axis = style.panels(1, width=6.0, height=4.0)[0]
    axis.plot(rates, losses, ".", ms=4, color=style.SKY, label="loss of a batch")
    axis.plot(rates, smoothed, color=style.BLUE, linewidth=1.8, label="smoothed")
    if suggestion is not None:
        axis.axvline(
            suggestion,
            color=style.VERMILION,
            linestyle=":",
            linewidth=1.6,
            label=f"suggested: {suggestion:.2g}",
        )
    axis.set_xscale("log")
    low, high = min(smoothed), smoothed[0]
    fall = (high - low) or 1.0
    axis.set_ylim(low - 0.1 * fall, high + 0.5 * fall)  # without the explosion
    style.title(axis, "learning-rate range test")
    style.label(axis, x="learning rate", y="training loss")
    axis.legend(frameon=False, fontsize=style.NORMAL, labelcolor=style.INK)
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
