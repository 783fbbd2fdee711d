"""Pictures that follow one another, as the content of a file."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxvision.errors import check


def gif(frames: Sequence[np.ndarray], *, seconds: float = 0.5) -> bytes:
    """The file of an animation of images uint8 [H,W,3] of one size, without end."""
    check((len(frames) > 0, "there are no frames to show"))
    first, *others = (Image.fromarray(frame) for frame in frames)
    stream = io.BytesIO()
    first.save(
        stream,
        "GIF",
        save_all=True,
        append_images=others,
        duration=round(1000 * seconds),
        loop=0,
    )
    return stream.getvalue()
