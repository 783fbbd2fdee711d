"""Images that occur more than once: the same pixels, or almost the same picture."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

MIN_CORRELATION = 0.95
"""Of the thumbnails of copies, at least."""

RATIO = 0.25
"""How much nearer a copy is than what else looks like the image: the ratio test by
which Lowe 2004, https://doi.org/10.1023/B:VISI.0000029664.99615.94, section 7.1, tells
matches from what is merely similar.  A threshold on the correlation alone does not
work: two digits 1 by different hands correlate to 0.997, and a photograph that was
moved by a pixel to 0.98."""

CERTAIN = 0.999
"""Correlation above which images are copies, whatever else is similar to them."""

_NEIGHBOUR = 4  # which of the nearest stands for "what else": groups may have so many
_BLOCK = 1 << 24  # correlations in memory at a time, 64 MB


def same(digests: Sequence[bytes]) -> list[list[int]]:
    """Groups of two or more indices with equal digests, ascending; `b""` is ignored."""
    groups: dict[bytes, list[int]] = {}
    for i, digest in enumerate(digests):
        if digest:
            groups.setdefault(digest, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def similar(
    thumbnails: np.ndarray,
    track: Callable[[Iterable, int], Iterable] = lambda work, count: work,
) -> list[tuple[int, int, float]]:
    """Pairs `(i, j, correlation)` with i < j of images that are almost the same.

    An image and the one that is nearest to it are a pair if their correlation is
    `MIN_CORRELATION` and more, and its distance from 1 at most `RATIO` of that of
    either one's fourth neighbour.  Zero thumbnails have no pairs.  Compares all with
    all, N²·D multiplications: half a minute for 70,000 images on two cores.

    thumbnails: float32 [N,D], of length 1; no two images of the same pixels.
    """
    count = len(thumbnails)
    if count < 2:
        return []
    nearest = np.zeros(count, np.int64)
    correlation = np.full(count, -1.0, np.float32)
    apart = np.full(count, 1.0, np.float32)  # 1 - correlation with the 4th neighbour
    fourth = min(_NEIGHBOUR, count - 1)
    rows = max(1, _BLOCK // count)
    starts = range(0, count, rows)
    for start in track(starts, len(starts)):
        block = thumbnails[start : start + rows] @ thumbnails.T
        here = np.arange(len(block))
        block[here, start + here] = -1  # not itself
        best = block.argmax(axis=1)
        near = block[here, best]
        nearest[start + here], correlation[start + here] = best, near
        # Only candidates need more, and selecting takes longer than multiplying.
        candidates = np.flatnonzero(near >= MIN_CORRELATION)
        others = np.partition(block[candidates], count - fourth, axis=1)
        apart[start + candidates] = 1 - others[:, count - fourth]

    distance = 1 - correlation
    near = (correlation >= CERTAIN) | (
        (correlation >= MIN_CORRELATION)
        & (distance <= RATIO * np.minimum(apart, apart[nearest]))
    )
    pairs = {
        (min(i, j), max(i, j)): float(correlation[i])
        for i, j in zip(
            np.flatnonzero(near).tolist(), nearest[near].tolist(), strict=True
        )
    }
    return [(i, j, value) for (i, j), value in sorted(pairs.items())]


def groups(pairs: Iterable[tuple[int, int, float]]) -> list[list[int]]:
    """The connected components of pairs, each in ascending order."""
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent.setdefault(i, i) != i:
            i = parent[i]
        return i

    for i, j, _ in pairs:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for i in sorted(parent):
        members.setdefault(root(i), []).append(i)
    return list(members.values())
