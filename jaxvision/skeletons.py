"""What the keypoints of a set are called, which are joined, and which are a pair."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxvision.errors import check

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}


class Skeleton(NamedTuple):
    """The K keypoints of the objects of a set; made by `skeleton`."""

    names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    """Pairs of keypoints that pictures join."""
    mirrored: tuple[int, ...] | None
    """Of each keypoint what it is called in the mirror image: (0, 2, 1) for a nose, a
    left and a right eye; None: not known."""
    sigmas: tuple[float, ...]
    """How exactly each can be annotated, as shares of the root of the object's area,
    for `metrics.keypoints`."""


def skeleton(
    names: Sequence[str],
    *,
    limbs: Sequence[tuple[int, int]] = (),
    mirrored: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
) -> Skeleton:
    """A skeleton of keypoints with these names, counted from 0.

    Args:
      mirrored: None: `by_sides(names)`.
      sigmas: None: those of `PERSON` for its names, and for others their mean.

    Raises `UsageError` for limbs that join no two of them, a `mirrored` that does not
    name pairs, and sigmas that are not one positive number for each.
    """
    names = tuple(names)
    count = len(names)
    if mirrored is None:
        mirrored = by_sides(names)
    if sigmas is None:
        sigmas = _SIGMAS if names == _PERSON else [sum(_SIGMAS) / len(_SIGMAS)] * count
    check(
        (
            all(len(limb) == 2 and all(0 <= k < count for k in limb) for limb in limbs),
            f"limbs must be pairs of keypoints from 0 to {count - 1}, got "
            f"{[*map(tuple, limbs)]}",
        ),
        (
            mirrored is None or names_pairs(mirrored, count),
            f"mirrored must name pairs of the {count} keypoints, each the other's "
            f"counterpart, got {mirrored}",
        ),
    )
    check_sigmas(sigmas, count)
    return Skeleton(
        names,
        tuple((a, b) for a, b in limbs),
        None if mirrored is None else tuple(mirrored),
        tuple(sigmas),
    )


def by_sides(names: Sequence[str]) -> tuple[int, ...] | None:
    """`Skeleton.mirrored` of names that tell it: those which say left or right, as a
    word or its first letter, become the others.

    None where no name does, and where another side of one is missing.
    """
    places = {name: k for k, name in enumerate(names)}
    others = [re.sub(r"[^\W_]+", _other_side, name) for name in names]
    if len(places) < len(names) or all(map(str.__eq__, names, others)):
        return None
    found = [places.get(other) for other in others]
    return None if None in found else tuple(k for k in found if k is not None)


def _other_side(word: re.Match[str]) -> str:
    other = _SIDES.get(word[0].lower(), word[0])
    if word[0].isupper():
        return other.upper()
    return other.capitalize() if word[0].istitle() else other


def names_pairs(mirrored: Sequence[int], count: int) -> bool:
    """Whether each of `count` keypoints is the counterpart of its own counterpart."""
    return len(mirrored) == count and all(
        0 <= j < count and mirrored[j] == i for i, j in enumerate(mirrored)
    )


def check_sigmas(sigmas: Sequence[float], count: int) -> None:
    """Raises `UsageError` unless `sigmas` are positive, and as many as keypoints."""
    check(
        (
            len(sigmas) == count,
            f"sigmas must be {count}, one for each keypoint, got {len(sigmas)}: "
            f"{tuple(sigmas)}",
        ),
        (
            all(0 < sigma < float("inf") for sigma in sigmas),
            f"sigmas must be positive, got {tuple(sigmas)}",
        ),
    )


_PERSON = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035),
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
PERSON = skeleton(
    _PERSON,
    limbs=[
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12)),
        *((5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
        *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ],
)
"""The 17 keypoints of a person in COCO (https://cocodataset.org/#keypoints-eval), whose
sigmas were measured: by how much two annotations of a person differ."""
