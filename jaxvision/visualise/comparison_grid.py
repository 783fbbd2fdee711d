"""Examples side by side with what a model makes of them, a row for each."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxvision.errors import check
from jaxvision.visualise import style

# In inches: the space between images, the words above a row, the headline, a line of
# the legend, and images side by side.
_GAP, _WORDS, _HEAD, _LEGEND = 0.06, 0.24, 0.62, 0.22
_ACROSS = 12  # images side by side


def comparison(
    rows: Mapping[str, Sequence[np.ndarray]],
    columns: Sequence[str],
    *,
    colours: Mapping[str, tuple[int, int, int]] | None = None,
    title: str = "",
    size: float = 1.5,
) -> Figure:
    """`{caption: images}`: the images of an example beside each other.

    Images are uint8 [H,W,C] of one channel (grey) or three (RGB), as many for each
    example as there are names of `columns`.  `colours` are RGB in bytes of the classes
    that the legend names, and `size` the longer side of an image in inches.

    Raises `UsageError` where there is nothing to show, or something that is no image.
    """
    check(
        (bool(rows), "there are no examples to show"),
        *(
            (
                len(images) == len(columns),
                f"{caption}: expected {len(columns)} images, got {len(images)}",
            )
            for caption, images in rows.items()
        ),
        *(style.image_rule(image) for images in rows.values() for image in images),
    )
    across = min(max(int(_ACROSS / size) // len(columns), 1), len(rows))
    group = len(columns) * (size + _GAP) + 3 * _GAP
    tallest = size * max(
        image.shape[0] / max(image.shape[:2])
        for images in rows.values()
        for image in images
    )
    pitch = _WORDS + tallest + _GAP
    names = list(colours or ())
    width = across * group + _GAP
    per_line = max(int(width / 1.3), 1)
    legend = -(-len(names) // per_line) * _LEGEND
    height = _HEAD + -(-len(rows) // across) * pitch + legend + _GAP
    figure = Figure((width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.text(_GAP, 0.24, style.plain(title), size=style.LARGE, color=style.INK)
    for place, (caption, images) in enumerate(rows.items()):
        row, column = divmod(place, across)
        top, start = _HEAD + row * pitch + _WORDS, _GAP + column * group
        axis.text(
            start,
            top - 0.05,
            style.plain(caption),
            size=style.SMALL,
            color=style.INK,
            va="bottom",
        )
        for i, image in enumerate(images):
            x = start + i * (size + _GAP)
            if row == 0:
                words = style.plain(columns[i])
                axis.text(x, _HEAD - 0.12, words, size=style.SMALL, color=style.PALE)
            square = top - (size - tallest) / 2  # whose middle the image has
            style.draw(axis, image, extent=style.extent(image, x, square, size))
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axis.set_axis_off()
    if names:
        assert colours is not None
        figure.legend(
            [Patch(color=_colour(colours[name])) for name in names],
            [style.plain(style.shorten(name, 14)) for name in names],
            loc="lower left",
            ncols=min(per_line, len(names)),
            frameon=False,
            fontsize=style.SMALL,
            labelcolor=style.INK,
        )
    return figure


def _colour(paint: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (part / 255 for part in paint)
    return red, green, blue


def shares_by_class(shares: Mapping[str, float], what: str) -> Figure:
    """A bar for each class, longest first; those that are not a number at the end."""
    check((bool(shares), "there are no classes to show"))
    known = {name: value for name, value in shares.items() if np.isfinite(value)}
    order = sorted(known, key=lambda name: -known[name])
    order += [name for name in shares if name not in known]
    axis = style.panels(1, width=6.0, height=0.6 + 0.24 * len(order))[0]
    places = np.arange(len(order))
    axis.barh(places, [known.get(name, 0) for name in order], color=style.BLUE)
    for place, name in enumerate(order):
        words = f"{known[name]:.1%}" if name in known else "no example"
        axis.text(
            known.get(name, 0) + 0.01,
            place,
            words,
            va="center",
            size=style.SMALL,
            color=style.INK,
        )
    axis.set(xlim=(0, 1.12), ylim=(len(order) - 0.4, -0.6))
    axis.set_yticks(places, [style.plain(style.shorten(name, 24)) for name in order])
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axis.grid(False, axis="y")
    style.title(axis, what)
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
