"""Panoptic quality: how well each pixel is told its segment, a thing or stuff.

Kirillov et al. 2019, https://arxiv.org/abs/1801.00868, section 4, with the rules for
void and crowds of its reference implementation.  A found segment and a true one of the
same class match if their IoU exceeds one half, so that each has one match at most.  Of
each class

    PQ = sum of the IoU of matches / (TP + FP/2 + FN/2) = SQ · RQ,

where SQ is the mean IoU of matches and RQ the F1 score.  Pixels whose truth is void
count for nobody, crowds are not to be found, and a found segment that lies by more than
half in void and in crowds of its class is no mistake.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.types import Sums

Array = jax.Array

VOID = -1


class Segments(NamedTuple):
    """What an image consists of."""

    of: Array
    """int32 [H,W]: the segment of each pixel, from 0 to P - 1, or `VOID`."""
    classes: Array
    """int32 [P]: of each segment; what no pixel is of does not count."""
    crowd: Array | None = None
    """[P]: 1 for a group as one segment; None: none is."""


def segments(
    segmentation: Array,
    instances: Array,
    classes: Array,
    stuff: Sequence[int],
    crowd: Array | None = None,
) -> Segments:
    """Those of an image of which maps tell the stuff, and masks the things.

    A pixel is of the last object whose mask has it, and else of all that has its class
    in `segmentation`, if that is stuff.  Everything else is void: what is unknown, and
    a thing's class where no object is.

    Args:
      segmentation: uint8 [H,W], the class of each pixel.
      instances: [M,H,W], 1 where an object is seen.
      classes: int32 [M], -1 for none.
      stuff: the classes that are stuff.
      crowd: [M], of the objects.
    """
    objects = len(classes)
    places = jnp.arange(1, objects + 1, dtype=jnp.int32)[:, None, None]
    there = instances.astype(bool) & (classes >= 0)[:, None, None]
    thing = jnp.max(jnp.where(there, places, 0), axis=0, initial=0)
    place_of = np.full(256, VOID, np.int32)
    place_of[[*stuff]] = objects + np.arange(len(stuff))
    of = jnp.where(thing > 0, thing - 1, jnp.asarray(place_of)[segmentation])
    crowds = jnp.zeros(objects, bool) if crowd is None else crowd.astype(bool)
    return Segments(
        of,
        jnp.concatenate([classes.astype(jnp.int32), jnp.array(stuff, jnp.int32)]),
        jnp.concatenate([crowds, jnp.zeros(len(stuff), bool)]),
    )


def update(found: Segments, true: Segments, num_classes: int) -> Sums:
    """What is added up over images: `iou`, `tp`, `fp` and `fn`, float32 [K] each.

    Of one image; a batch is `jax.vmap`, and a sum over it.
    """
    check(
        (
            found.of.shape == true.of.shape,
            f"segments must be of the same pixels, got {found.of.shape} and "
            f"{true.of.shape}",
        )
    )
    mine, theirs = len(found.classes), len(true.classes)
    # The last row is what nobody found, and the last column is void.
    rows = jnp.where(found.of == VOID, mine, found.of)
    columns = jnp.where(true.of == VOID, theirs, true.of)
    pairs = (rows * (theirs + 1) + columns).ravel()
    pixels = jnp.bincount(pairs, length=(mine + 1) * (theirs + 1))
    pixels = pixels.reshape(mine + 1, theirs + 1).astype(jnp.float32)
    both, in_void = pixels[:-1, :-1], pixels[:-1, -1]
    area_found, area_true = jnp.sum(pixels, 1)[:-1], jnp.sum(pixels, 0)[:-1]
    crowd = jnp.zeros(theirs, bool) if true.crowd is None else true.crowd.astype(bool)

    same = found.classes[:, None] == true.classes[None]
    union = (area_found - in_void)[:, None] + area_true[None] - both
    iou = jnp.where(same & ~crowd[None], both / jnp.maximum(union, 1), 0)
    matches = iou > 0.5
    hit = jnp.any(matches, axis=1)
    missed = (area_true > 0) & ~crowd & ~jnp.any(matches, axis=0)
    excused = in_void + jnp.sum(jnp.where(same & crowd[None], both, 0), axis=1)
    wrong = (area_found > 0) & ~hit & (2 * excused <= area_found)

    def by_class(classes: Array, values: Array) -> Array:
        of_class = classes[:, None] == jnp.arange(num_classes, dtype=jnp.int32)[None]
        return jnp.sum(jnp.where(of_class, values.astype(jnp.float32)[:, None], 0), 0)

    return {
        "iou": by_class(found.classes, jnp.sum(jnp.where(matches, iou, 0), axis=1)),
        "tp": by_class(found.classes, hit),
        "fp": by_class(found.classes, wrong),
        "fn": by_class(true.classes, missed),
    }


def compute(sums: Mapping[str, Any], stuff: Sequence[int]) -> dict[str, Any]:
    """`pq`, `sq` and `rq`, means over the classes that were found or are there; the
    same over those that are `_stuff` and `_things`; and `per_class_pq` [K], NaN for
    classes that are neither.

    stuff: the classes that are stuff; all others are things.
    """
    iou, tp, fp, fn = (np.asarray(sums[name], np.float64) for name in _SUMS)
    whole = tp + fp / 2 + fn / 2
    there = whole > 0
    recognised = np.divide(tp, whole, out=np.full_like(tp, np.nan), where=there)
    segmented = np.divide(iou, tp, out=np.zeros_like(iou), where=tp > 0)
    each = {"pq": segmented * recognised, "sq": segmented, "rq": recognised}
    is_stuff = np.isin(np.arange(len(tp)), [*stuff])
    measured: dict[str, Any] = {}
    for suffix, which in (("", there), ("_stuff", is_stuff), ("_things", ~is_stuff)):
        some = which & there
        for name, values in each.items():
            mean = float(values[some].mean()) if some.any() else float("nan")
            measured[name + suffix] = mean
    return measured | {"per_class_pq": each["pq"]}


_SUMS = ("iou", "tp", "fp", "fn")
