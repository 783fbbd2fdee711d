"""Points of a plane, of several kinds, with lines through them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style
from jaxvision.visualise.annotation_overlay import class_colour


class Cloud(NamedTuple):
    """A panel."""

    points: Mapping[str, np.ndarray]
    """Of each kind, [N,2]."""
    lines: Mapping[str, tuple[float, float, float]] = {}
    """(a, b, c): where `a·x + b·y + c = 0`."""
    x: str = ""
    y: str = ""


def clouds(panels: Mapping[str, Cloud], *, equal: bool = True) -> Figure:
    """A panel for each cloud, by its title; `equal`: a unit of both axes is as long.

    Raises `UsageError` where there is nothing to show.
    """
    check(
        (bool(panels), "there are no clouds to show"),
        *(
            (any(map(len, cloud.points.values())), f"{title}: there are no points")
            for title, cloud in panels.items()
        ),
    )
    axes = style.panels(len(panels), height=4.2)
    for axis, (title, cloud) in zip(axes, panels.items(), strict=True):
        for k, (kind, points) in enumerate(cloud.points.items()):
            name = style.plain(f"{kind}  ({len(points):,})")
            colour = tuple(part / 255 for part in class_colour(k))
            x, y = points.T
            axis.scatter(x, y, s=6, alpha=0.35, color=colour, lw=0, label=name)
        limits = _limits([*cloud.points.values()])
        for (name, (a, b, c)), dashes in zip(
            cloud.lines.items(), ("-", "--", ":") * len(cloud.lines), strict=False
        ):
            ends = _line(a, b, c, limits)
            axis.plot(*ends, dashes, color=style.BLACK, lw=1.4, label=style.plain(name))
        axis.set(xlim=limits[0], ylim=limits[1])
        if equal:
            axis.set_aspect("equal")
        style.title(axis, title)
        style.label(axis, x=cloud.x, y=cloud.y)
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    _legends(figure, axes)
    return figure


def _legends(figure: Figure, axes: Sequence[Axes]) -> None:
    """One beside all panels where all say the same, and else one in each."""
    said = [axis.get_legend_handles_labels() for axis in axes]
    options: Any = dict(fontsize=style.SMALL, labelcolor=style.INK, markerscale=2)
    handles, names = said[0]
    if len(axes) > 1 and all(labels == names for _, labels in said):
        place: Any = dict(loc="outside right upper", frameon=False)
        legends = [figure.legend(handles, names, **place, **options)]
    else:
        legends = [axis.legend(frameon=True, **options) for axis in axes]
    for legend in legends:
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)


def _limits(kinds: Sequence[np.ndarray]):
    every = np.concatenate([points for points in kinds if len(points)])
    low, high = every.min(0), every.max(0)
    margin = 0.05 * np.maximum(high - low, 1e-6)
    return [*zip(low - margin, high + margin, strict=True)]


def _line(a: float, b: float, c: float, limits):
    """Two points of the line that are outside of the panel."""
    normal = np.array([a, b])
    foot = -c * normal / (normal @ normal)
    reach = 2 * np.abs(np.array(limits)).max() + np.abs(foot).max()
    along = np.array([-b, a]) / np.sqrt(normal @ normal) * reach
    return np.stack([foot - along, foot + along], axis=1)
