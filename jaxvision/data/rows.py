"""Some of the examples of a source, or those of several, as a source."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


def join(sources: Sequence[Source], *, name: str) -> Source:
    """The examples of all splits of a set, one split after the other.

    What all of them can do without decoding, the result can.
    """

    def together(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {
            key: _stacked([part[key] for part in parts], -1 if key == "classes" else 0)
            for key in parts[0]
        }

    def joined(functions: Sequence[Callable[[int], Any] | None]) -> "Joined | None":
        there = tuple(function for function in functions if function is not None)
        sizes = tuple(source.size for source in sources)
        return Joined(there, sizes) if len(there) == len(sizes) else None

    targets = [source.targets for source in sources if source.targets is not None]
    sizes = [source.sizes for source in sources if source.sizes is not None]
    return sources[0]._replace(
        name=name,
        size=sum(source.size for source in sources),
        read=lambda: together([source.read() for source in sources]),
        targets=(lambda: together([of_split() for of_split in targets]))
        if len(targets) == len(sources)
        else None,
        encoded=joined([source.encoded for source in sources]),
        maps=joined([source.maps for source in sources]),
        sizes=(lambda: np.concatenate([of_split() for of_split in sizes]))
        if len(sizes) == len(sources)
        else None,
        choice="",
    )


def _stacked(arrays: Sequence[np.ndarray], nothing: int) -> np.ndarray:
    """Rows of all arrays; the objects of an image are padded where others have more."""
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        most = [max(sizes) for sizes in zip(*shapes, strict=True)]
        arrays = [
            np.pad(array, _missing(array, most), constant_values=nothing)
            for array in arrays
        ]
    return np.concatenate(arrays)


def _missing(array: np.ndarray, most: Sequence[int]) -> list[tuple[int, int]]:
    sizes = zip(array.shape[1:], most, strict=True)
    return [(0, 0), *((0, wanted - size) for size, wanted in sizes)]


@dataclass(frozen=True)
class Joined:
    """`Source.encoded` or `maps` of several sources, one after the other."""

    parts: tuple[Callable[[int], Any], ...]
    sizes: tuple[int, ...]

    def __call__(self, i: int) -> Any:
        for part, size in zip(self.parts, self.sizes, strict=True):
            if i < size:
                return part(i)
            i -= size
        raise IndexError(i)


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
