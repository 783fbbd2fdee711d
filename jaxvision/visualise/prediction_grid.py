"""Images with what they are and what the model takes them for."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style

# In inches: an image, the space around it, the two lines above it, and the headline.
_IMAGE, _GAP, _WORDS, _HEAD = 1.4, 0.14, 0.34, 0.62
_NAME = 11  # characters of a class name that fit beside a probability


def predictions(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    rows: int = 6,
    columns: int = 8,
    *,
    of: tuple[int, int] | None = None,
) -> Figure:
    """The most confident mistakes first, then the least confident correct answers.

    images: [N,H,W,C] uint8 with one channel (grey) or three (RGB); labels: [N] int in
    0..K-1; probabilities: [N,K] in 0..1 for the K class names.  of: the numbers of
    mistakes and of images, where these here are the worst of more.

    The first line above an image is the predicted class and its probability, the
    second one is the true class and the probability the model gave to it.

    Raises `UsageError` when the shapes do not fit together.
    """
    images, labels, probabilities = map(np.asarray, (images, labels, probabilities))
    count, classes = len(images), len(class_names)
    check(
        (count > 0, "there are no images to show"),
        style.image_rule(images, axes="NHW"),
        (labels.shape == (count,), f"labels must be [{count}], got {labels.shape}"),
        (
            bool(np.all((labels >= 0) & (labels < classes))),
            f"labels must be in 0..{classes - 1}, one for each class name",
        ),
        (
            probabilities.shape == (count, classes),
            f"probabilities must be [{count},{classes}], a column for each class name, "
            f"got {probabilities.shape}",
        ),
        (
            rows > 0 and columns > 0,
            f"rows and columns must be positive, got {rows} and {columns}",
        ),
    )
    predicted = probabilities.argmax(axis=1)
    wrong = predicted != labels
    shown = _order(wrong, probabilities.max(axis=1))[: rows * columns]

    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    width = max(columns, 4) * (_IMAGE + _GAP) + _GAP  # four wide for the headline
    height = rows * (_IMAGE + _GAP + _WORDS) + _HEAD
    figure = Figure((width, height))
    _headline(figure, of or (int(wrong.sum()), count), wrong[shown])
    for place, index in enumerate(shown):
        row, column = divmod(place, columns)
        left = _GAP + column * (_IMAGE + _GAP)
        bottom = height - _HEAD - (row + 1) * (_IMAGE + _GAP + _WORDS) + _GAP
        axis = figure.add_axes(
            (left / width, bottom / height, _IMAGE / width, _IMAGE / height)
        )
        colour = style.VERMILION if wrong[index] else style.BLUE
        square = images.shape[1] == images.shape[2]
        style.draw(axis, images[index], aspect="auto" if square else "equal")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(color=colour, linewidth=2)
        guess, truth = predicted[index], labels[index]
        sign = "✗" if wrong[index] else "✓"
        for y, color, words, probability in (
            (1.165, colour, f"{sign} {_name(class_names[guess])}", guess),
            (1.035, style.INK, f"true {_name(class_names[truth])}", truth),
        ):
            share = _percent(probabilities[index, probability])
            for x, side, text in (0, "left", words), (1, "right", share):
                axis.text(
                    x,
                    y,
                    text,
                    ha=side,
                    color=color,
                    fontsize=style.SMALL,
                    transform=axis.transAxes,
                )
    return figure


def _order(wrong: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Indices: mistakes by falling confidence, then correct ones by rising."""
    return np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))


def _headline(figure: Figure, of: tuple[int, int], wrong_shown: np.ndarray) -> None:
    """How many mistakes there are in how many images, and which are seen here."""
    (mistakes, images), cells = of, len(wrong_shown)
    shown = int(wrong_shown.sum())
    parts = []
    if shown:
        which = "all by" if shown == mistakes else f"the {shown:,} most confident, by"
        parts.append(f"✗ mistakes: {which} falling confidence")
    if cells > shown:
        parts.append(f"✓ correct: the {cells - shown:,} least confident")
    parts.append("above each: prediction and truth, with their probabilities")
    height = figure.get_figheight()
    figure.text(
        _GAP / figure.get_figwidth(),
        1 - 0.24 / height,
        f"{style.count(mistakes, 'mistake')} in {style.count(images, 'image')}",
        fontsize=style.LARGE,
        color=style.INK,
        va="center",
    )
    figure.text(
        _GAP / figure.get_figwidth(),
        1 - 0.47 / height,
        "   ".join(parts),
        fontsize=style.SMALL,
        color=style.PALE,
        va="center",
    )


def _name(name: str) -> str:
    return style.plain(style.shorten(name, _NAME))


def _percent(probability: float) -> str:
    """Whole percents, without claiming certainty: 0.9999 is `>99 %`, 0.0001 `<1 %`."""
    if probability >= 0.995:
        return ">99 %"
    return f"{100 * probability:.0f} %" if probability >= 0.005 else "<1 %"
