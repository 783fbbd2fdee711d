"""Pictures from anywhere, as their predictions are drawn."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style

# In inches: the side of a picture, the space around it, and its name below.
_SIDE, _GAP, _NAME = 2.2, 0.12, 0.24

_LETTERS = 30
"""Of a name, at most: its end tells files in long folders apart."""


def predicted_sheet(
    drawn: Sequence[np.ndarray], names: Sequence[str], *, columns: int = 4
) -> Figure:
    """A sheet of pictures, uint8 [S,T,3] of any sizes, with a name below each.

    Raises `UsageError` for no pictures, or another number of names.
    """
    check(
        (len(drawn) > 0, "there are no pictures to show"),
        (
            len(drawn) == len(names),
            f"there are {len(drawn)} pictures and {len(names)} names",
        ),
        *(style.image_rule(image, "pictures") for image in drawn),
    )
    columns = min(columns, len(drawn))
    rows = -(-len(drawn) // columns)
    width = columns * (_SIDE + _GAP) + _GAP
    height = rows * (_SIDE + _NAME + _GAP) + _GAP
    figure = Figure((width, height))
    for i, (image, name) in enumerate(zip(drawn, names, strict=True)):
        row, column = divmod(i, columns)
        left = _GAP + column * (_SIDE + _GAP)
        bottom = height - (row + 1) * (_SIDE + _NAME + _GAP) + _NAME
        axes = figure.add_axes(
            (left / width, bottom / height, _SIDE / width, _SIDE / height)
        )
        axes.imshow(image)
        axes.set_anchor("S")
        axes.axis("off")
        figure.text(
            (left + _SIDE / 2) / width,
            (bottom - 0.04) / height,
            style.plain(name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"),
            size=style.SMALL,
            color=style.INK,
            ha="center",
            va="top",
        )
    return figure
