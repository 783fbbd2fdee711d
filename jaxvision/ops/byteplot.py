"""A binary file as a grey image: its bytes, row by row.

Nataraj et al. 2011, Malware images: visualization and automatic classification,
https://doi.org/10.1145/2016904.2016908, section 3.
"""

import numpy as np

from jaxvision.errors import check

_WIDTHS = (
    (10, 32),
    (30, 64),
    (60, 128),
    (100, 256),
    (200, 384),
    (500, 512),
    (1_000, 768),
)


def width_for(size: int) -> int:
    """Pixels in a row for a file of `size` bytes, table 1: wider as files are larger.

    From 32 below 10 kB to 1,024 from 1,000 kB on; 1 kB is 1,024 bytes here.
    """
    for kilobytes, width in _WIDTHS:
        if size < kilobytes * 1024:
            return width
    return 1024


def byte_image(content: np.ndarray, width: int | None = None) -> np.ndarray:
    """Bytes, uint8 [n], as an image uint8 [⌈n / width⌉, width], the last row filled up
    with zeros.  On the host, since the shape is that of the file.

    width: None for that of `width_for`.

    Raises `UsageError` for anything but a row of bytes, one at least.
    """
    check(
        (
            content.ndim == 1 and content.dtype == np.uint8,
            f"content must be uint8 [n], got {content.dtype} {list(content.shape)}: "
            "numpy.frombuffer(data, numpy.uint8)",
        ),
        (content.size > 0, "there are no bytes: the file is empty"),
        (width is None or width >= 1, f"width must be positive, got {width}"),
    )
    width = width or width_for(content.size)
    return np.pad(content, (0, -content.size % width)).reshape(-1, width)
