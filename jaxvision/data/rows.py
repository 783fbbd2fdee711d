"""Some of the examples of a source, as a source."""

from collections.abc import Callable

import numpy as np

from jaxvision.data.carving import Subset
from jaxvision.data.source import Source


def take(
    source: Source, rows: Callable[[], np.ndarray], *, name: str, size: int
) -> Source:
    """The examples `rows()`, int [size], of a source, in that order.

    `rows` is called when the first example or target is asked for, and not before; its
    result should be cached.  What the source can do without decoding, the result can.
    """

    def read() -> dict[str, np.ndarray]:
        return {key: array[rows()] for key, array in source.read().items()}

    def targets() -> dict[str, np.ndarray]:
        assert source.targets
        return {key: array[rows()] for key, array in source.targets().items()}

    return source._replace(
        name=name,
        size=size,
        read=read,
        targets=targets if source.targets else None,
        encoded=source.encoded and Subset(source.encoded, rows),
        maps=source.maps and Subset(source.maps, rows),
    )
