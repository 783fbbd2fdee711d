"""Masks as run lengths, as COCO writes them: `{"size": [H, W], "counts": …}`.

The lengths are those of runs of zeros and ones in turn, the first of zeros, down the
columns of the image, one after the other.  Compressed, each is a number in groups of
five bits, the lowest first, as characters from `0` on, with a sixth bit if another
group follows; from the fourth on it is the difference to the length before the last.
"""

from typing import Any

import numpy as np


def lengths(mask: np.ndarray) -> np.ndarray:
    """int64 [R]: the run lengths of a mask [H,W]; what is not 0 is inside."""
    column_wise = np.asarray(mask).T.ravel() != 0
    changes = np.flatnonzero(np.diff(column_wise, prepend=False))
    return np.diff(changes, prepend=0, append=column_wise.size)


def mask(lengths: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H,W]: 1 inside.  The lengths must add up to its pixels."""
    ones = np.arange(len(lengths), dtype=np.uint8) & 1
    return np.repeat(ones, lengths).reshape(width, height).T


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """A mask [H,W] as JSON can hold it: `size` and the compressed `counts`."""
    return {"size": list(mask.shape), "counts": compressed(lengths(mask))}


def compressed(lengths: np.ndarray) -> str:
    """The lengths, int [R], as text."""
    numbers = np.array(lengths, np.int64)
    numbers[3:] -= numbers[1:-2].copy()
    # A group is the last if what is left is its sign.
    places = np.arange(13)
    left = numbers[:, None] >> (5 * places)
    more = (left >> 4 != 0) & (left >> 4 != -1)
    there = np.logical_and.accumulate(more, axis=1)
    there = np.concatenate([np.ones((len(numbers), 1), bool), there[:, :-1]], axis=1)
    codes = (left & 31) | np.where(more, 32, 0)
    return (codes[there] + 48).astype(np.uint8).tobytes().decode("ascii")


def decompressed(counts: str | bytes) -> np.ndarray:
    """The inverse of `compressed`, int64 [R].

    Raises `ValueError` for text that is not of this kind.
    """
    text = counts.encode() if isinstance(counts, str) else counts
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    (ends,) = np.nonzero((codes & 32) == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("it is not a compressed run-length encoding")
    starts = np.concatenate([[0], ends[:-1] + 1])
    groups = ends - starts + 1
    if groups.max() > 12:
        raise ValueError("one of its run lengths is out of range")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, groups))
    lengths = np.add.reduceat((codes & 31) << shifts, starts)
    lengths -= np.where(codes[ends] & 16, 1 << (5 * groups), 0)
    lengths[1::2] = np.cumsum(lengths[1::2])
    lengths[2::2] = np.cumsum(lengths[2::2])
    return lengths
