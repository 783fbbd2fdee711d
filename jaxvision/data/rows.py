"""Some of the examples of a source, as a source."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

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

    def sizes() -> np.ndarray:
        assert source.sizes
        return source.sizes()[rows()]

    return source._replace(
        name=name,
        size=size,
        read=read,
        targets=targets if source.targets else None,
        encoded=source.encoded and Subset(source.encoded, rows),
        maps=source.maps and Subset(source.maps, rows),
        sizes=source.sizes and sizes,
    )


class Subset:
    """`Source.encoded` or `maps` of some rows, found when the first is asked for."""

    def __init__(self, whole: Callable[[int], Any], rows: Callable[[], np.ndarray]):
        self.whole = whole
        self._find = rows

    @functools.cached_property
    def rows(self) -> np.ndarray:
        return self._find()

    def __call__(self, i: int) -> Any:
        return self.whole(int(self.rows[i]))

    def __getstate__(self) -> dict[str, Any]:
        # Found here, since what finds them cannot be sent to another process.
        return {"whole": self.whole, "rows": self.rows}
