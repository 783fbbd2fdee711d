"""A network as a row of volumes, as papers draw LeNet-5, from the shapes it has."""

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, tostring

from jaxvision.errors import check
from jaxvision.visualise.page import element

# In units of the drawing, of which a page shows about one as a pixel.
_TALLEST, _GAP, _MARGIN = 150.0, 34.0, 16.0
_LETTER = 6.2
_SLANT = (0.34, 0.22)
"""How far to the right and up the columns of a map go for each unit of their length."""

_LOOK = (
    ".front{fill:#56B4E9}.top{fill:#a6d6f3}.side{fill:#2f86b8}"
    ".face{stroke:currentColor;stroke-width:.8;stroke-linejoin:round}"
    "text{font:11px sans-serif;fill:currentColor;text-anchor:middle}"
    ".name{font-weight:bold}.arrow{stroke:currentColor;stroke-width:1}"
)


def volumes(layers: Mapping[str, Sequence[int]], title: str) -> Element:
    """The layers as an SVG picture, from left to right in their order.

    Heights and widths are as the maps', which are drawn by their square roots, so that
    the last ones can still be seen; the thickness of a volume grows with the logarithm
    of its channels.  A vector is a tall thin bar.

    Args:
      layers: shapes (H, W, D) or (D,) by name, the image first.
      title: what the picture shows, in words.
    """
    check(
        (len(layers) > 0, "there are no layers to draw"),
        *(
            (
                len(shape) in (1, 3),
                f"the layer {name} must be (H, W, D) or (D,), got {tuple(shape)}",
            )
            for name, shape in layers.items()
        ),
    )
    largest = max(max(s[:2]) for s in layers.values() if len(s) == 3) if any(
        len(s) == 3 for s in layers.values()
    ) else 1  # fmt: skip
    unit = _TALLEST / math.sqrt(largest)
    drawn: list[Element] = []
    left, up = _MARGIN, _TALLEST * _SLANT[1] + _MARGIN
    middle = up + _TALLEST / 2
    bottom = middle + (1 + _SLANT[1]) * _TALLEST / 2
    words = []
    for i, (name, shape) in enumerate(layers.items()):
        size = "×".join(map(str, shape))
        words.append(f"{name} {size}")
        tall, deep, thick = _box(shape, unit)
        wide = thick + deep * _SLANT[0]
        room = max(wide, _LETTER * max(len(name), len(size)))
        begin = left + (room - wide) / 2
        if i:
            drawn.append(_arrow(left - _GAP + 8, left - 8, middle))
        drawn += _volume(begin, middle - tall / 2, thick, tall, deep)
        below = bottom + 18
        centre = left + room / 2
        drawn.append(_text(centre, below, name, "name"))
        drawn.append(_text(centre, below + 14, size, "size"))
        left += room + _GAP
    width, height = left - _GAP + _MARGIN, bottom + 18 + 14 + _MARGIN
    return element(
        "svg",
        element("title", title),
        element("desc", "; ".join(words)),
        element("style", _LOOK),
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        role="img",
    )


def svg(picture: Element) -> str:
    """The text of an SVG file."""
    return tostring(picture, encoding="unicode") + "\n"


def _box(shape: Sequence[int], unit: float) -> tuple[float, float, float]:
    """Height, depth and thickness in units of the drawing."""
    if len(shape) == 1:
        return min(18 * math.log2(shape[0] + 1), _TALLEST), 0, 9
    height, width, channels = shape
    thick = 5 + 6 * math.log2(max(channels, 1))
    return max(unit * math.sqrt(height), 4), max(unit * math.sqrt(width), 4), thick


def _volume(
    x: float, y: float, thick: float, tall: float, deep: float
) -> list[Element]:
    """The faces that are seen: the front, the top and the right side."""
    right, up = deep * _SLANT[0], deep * _SLANT[1]
    front = [(0, 0), (thick, 0), (thick, tall), (0, tall)]
    top = [(0, 0), (thick, 0), (thick + right, -up), (right, -up)]
    side = [(thick, 0), (thick + right, -up), (thick + right, tall - up), (thick, tall)]
    faces = {"front": front, "top": top, "side": side} if deep else {"front": front}
    # The slant goes up: what is drawn stays around the middle.
    shift = up / 2
    return [
        element(
            "polygon",
            points=" ".join(f"{x + a:.1f},{y + shift + b:.1f}" for a, b in corners),
            **{"class": f"face {kind}"},
        )
        for kind, corners in faces.items()
    ]


def _arrow(begin: float, end: float, y: float) -> Element:
    return element(
        "path",
        d=f"M{begin:.1f} {y:.1f}H{end:.1f}m-4 -3l4 3l-4 3",
        fill="none",
        **{"class": "arrow"},
    )


def _text(x: float, y: float, words: str, kind: str) -> Element:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", **{"class": kind})
