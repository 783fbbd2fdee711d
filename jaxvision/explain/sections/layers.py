"""What its layers hold of an image: maps and vectors."""

from collections.abc import Iterator

import numpy as np

from jaxvision import visualise
from jaxvision.explain.subject import Shown, Subject, captioned, heading
from jaxvision.visualise import page

NAME, TITLE = "layers", "What its layers hold"

_CHANNELS = 16
"""Channels of a map that are shown."""


def section(subject: Subject, shown: Shown) -> Iterator[page.Element]:
    """The channels of each layer that vary most over the image."""
    yield heading(TITLE, NAME)
    yield page.element(
        "p",
        f"Of {shown.name}. Each map is drawn between its own extremes; of many "
        f"channels those {_CHANNELS} that vary most are shown.",
    )
    subject.tell("drawing feature maps")
    outputs = subject.outputs(shown)
    figures = []
    for name, shape in subject.net.shapes.items():
        values = np.asarray(outputs[name][0], np.float32)
        if len(shape) == 3:
            order = np.argsort(-values.std((0, 1)), kind="stable")
            chosen = np.sort(order[:_CHANNELS])
            sheet = visualise.map_sheet(values[..., chosen], 4)
            channels = ", ".join(map(str, chosen.tolist()))
            words = f"{'×'.join(map(str, shape))}; channels {channels}."
            alt = f"{len(chosen)} maps of {name}"
        elif len(shape) == 1:
            sheet = visualise.map_sheet(_in_rows(values), 1, side=160)
            words, alt = f"{shape[0]} numbers, in rows.", f"the numbers of {name}"
        else:
            continue
        figures.append(
            captioned(page.image(visualise.encoded(sheet), alt), f"{name}.", words)
        )
    yield page.figures(figures)


def _in_rows(values: np.ndarray) -> np.ndarray:
    """A vector as about a square, [h,w,1]; what is missing is the least."""
    width = int(np.ceil(np.sqrt(len(values))))
    filled = np.full(-(-len(values) // width) * width, values.min(), np.float32)
    filled[: len(values)] = values
    return filled.reshape(-1, width, 1)
