"""Pictures as the content of PNG files."""

import io
from typing import Any

import numpy as np


def encoded(picture: Any) -> bytes:
    """The bytes of a file: of pixels uint8 [H,W,1 or 3], or of an image of Pillow's."""
    from PIL import Image

    if isinstance(picture, np.ndarray):
        grey = picture.shape[-1] == 1
        picture = Image.fromarray(picture[..., 0] if grey else picture)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
