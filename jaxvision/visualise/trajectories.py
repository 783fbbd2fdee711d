"""Paths down a surface over a plane, as a picture and as an animation."""

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from jaxvision.errors import check
from jaxvision.visualise import style

Window = tuple[float, float, float, float]
"""Left, right, bottom and top."""


def trajectories(
    paths: Mapping[str, np.ndarray],
    heights: np.ndarray,
    window: Window,
    *,
    captions: Mapping[str, str],
) -> Figure:
    """A panel for each path [T,2] of points (x, y), over lines of equal height.

    `heights` [R,S] are those of the surface in the window, from its bottom left on.
    What leaves the window is cut off.
    """
    axes = _panels(paths, heights, window, captions)
    for axis, path in zip(axes, paths.values(), strict=True):
        shown = _seen(path)
        axis.plot(*shown.T, color=style.VERMILION, linewidth=1.2, zorder=3)
        axis.plot(*shown.T, ".", color=style.VERMILION, ms=4, zorder=3)
        axis.plot(*shown[0], "o", color=style.BLACK, ms=5, zorder=4)
    return _figure_of(axes)


def animated_trajectories(
    paths: Mapping[str, np.ndarray],
    heights: np.ndarray,
    window: Window,
    *,
    captions: Mapping[str, str],
    frames: int = 40,
    milliseconds: int = 120,
) -> bytes:
    """The same as a GIF: the paths grow by the same number of steps in each frame."""
    check((frames > 0, f"frames must be positive, got {frames}"))
    axes = _panels(paths, heights, window, captions, width=2.6)
    figure = _figure_of(axes)
    figure.set_dpi(80)
    canvas = FigureCanvasAgg(figure)
    lines = [
        axis.plot([], [], ".-", color=style.VERMILION, ms=4, linewidth=1.2, zorder=3)[0]
        for axis in axes
    ]
    pictures = []
    for frame in range(1, frames + 1):
        for line, path in zip(lines, paths.values(), strict=True):
            line.set_data(*_seen(path[: 1 + round(frame / frames * (len(path) - 1))]).T)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        pictures.append(picture.quantize(64, dither=Image.Dither.NONE))
    first, *others = pictures
    content = io.BytesIO()
    first.save(
        content,
        "GIF",
        save_all=True,
        append_images=others,
        duration=[milliseconds] * (frames - 1) + [10 * milliseconds],
        loop=0,
    )
    return content.getvalue()


def _panels(paths, heights, window: Window, captions, width: float = 3.4) -> list[Axes]:
    check((bool(paths), "there are no paths to show"))
    axes = style.panels(len(paths), width=width, height=0.85 * width)
    left, right, bottom, top = window
    x = np.linspace(left, right, heights.shape[1])
    y = np.linspace(bottom, top, heights.shape[0])
    # As many lines near the bottom as further up, where the surface is steep.
    levels = heights.min() + np.ptp(heights) * np.linspace(0.03, 1, 14) ** 2
    for axis, name in zip(axes, paths, strict=True):
        axis.contour(x, y, heights, levels=levels, colors=style.SKY, linewidths=0.6)
        axis.set(xlim=(left, right), ylim=(bottom, top))
        axis.grid(False)
        style.title(axis, name)
        style.label(axis, x=captions[name])
    return axes


def _seen(path: np.ndarray) -> np.ndarray:
    """The path up to where it is too far away to be drawn."""
    far = np.flatnonzero(~(np.abs(path) < 1e6).all(axis=1))
    return path[: far[0]] if len(far) else path


def _figure_of(axes: list[Axes]) -> Figure:
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    return figure
