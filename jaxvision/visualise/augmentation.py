"""What augmentation makes of images: a row for each transform, weak ones first."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style

# In inches: an image, the space between images, between strengths and between rows, the
# headline, the words above each strength, and the names on the left.
_IMAGE, _GAP, _WIDE, _HEAD, _WORDS, _SIDE = 0.9, 0.03, 0.18, 0.5, 0.2, 1.75

Images = Sequence[np.ndarray]


def augmentations(
    rows: Mapping[str, Mapping[str, Images]], *, title: str = ""
) -> Figure:
    """A contact sheet of `{transform: {strength: images}}`, drawn in this order.

    Images are uint8 [H,W,C] of one channel (grey) or three (RGB), of any size, the same
    number everywhere; each fills a square with its longer side.  Those without values
    in one strength are not drawn.

    Raises `UsageError` where there is nothing to show, or something that is no image.
    """
    every = [images for strengths in rows.values() for images in strengths.values()]
    check(
        (bool(every), "there are no transforms to show"),
        *(style.image_rule(image) for images in every for image in images),
    )
    across = max(len(strengths) for strengths in rows.values())
    group = max(map(len, every)) * (_IMAGE + _GAP) + _WIDE
    pitch = _WORDS + _IMAGE + _GAP
    width, height = _SIDE + across * group, _HEAD + len(rows) * pitch + _GAP
    figure = Figure((width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.text(_GAP * 3, 0.26, style.plain(title), size=style.LARGE, color=style.INK)
    for row, (name, strengths) in enumerate(rows.items()):
        top = _HEAD + row * pitch + _WORDS
        axis.text(
            _SIDE - 0.12,
            top + _IMAGE / 2,
            style.plain(name.replace(": ", ":\n")),
            ha="right",
            va="center",
            size=style.NORMAL,
            color=style.INK,
        )
        for place, (strength, images) in enumerate(strengths.items()):
            left = _SIDE + place * group
            words = style.plain(strength)
            axis.text(left, top - 0.05, words, size=style.SMALL, color=style.PALE)
            for column, image in enumerate(images):
                x = left + column * (_IMAGE + _GAP)
                style.draw(axis, image, extent=style.extent(image, x, top, _IMAGE))
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axis.set_axis_off()
    return figure
