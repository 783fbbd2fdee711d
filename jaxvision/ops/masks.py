"""Masks of objects: from a network's small squares to pixels, and how they overlap.

Every function but `boxes_around` is for one image, in fixed shapes; a batch is
`jax.vmap`.  Whatever needs floats for every pixel of every object goes through the
image in blocks of rows, so that memory is bounded: a full-size mask is a byte a pixel,
and where only overlaps are asked for there is none at all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.boxes.forms import corners

Array = jax.Array

BLOCK = 1 << 20
"""Values of a block: the pixels of some rows, of all objects."""

_BORDER = 1
"""Pixels of zeros that are thought around a network's mask, whose box grows as much: so
a mask can end within its box."""


def paste(
    masks: Array, boxes: Array, size: tuple[int, int], *, threshold: float = 0.5
) -> Array:
    """The pixels of each object, bool [D,H,W].

    What torchvision's `paste_masks_in_image` does, and then the threshold: boxes grow
    by the border of the mask and are cut to whole pixels, and the mask is stretched
    over these, bilinear, by the centres of pixels.

    Args:
      masks: float [D,S,S], the probability that a pixel is of the object, within its
        box.
      boxes: float [D,4] in pixels, which may reach beyond the image.
      size: H and W.
      threshold: pixels with a higher probability are the object's.

    Raises `UsageError` for masks that are not squares.
    """
    _check_squares(masks, boxes)
    height, width = size
    paint = _painter(masks, boxes, width, threshold)

    def fill(i, pasted):
        start, rows, _ = _block(i, height, len(boxes) * width)
        block = paint(start + jnp.arange(rows, dtype=jnp.int32))
        return lax.dynamic_update_slice(pasted, block, (0, start, 0))

    nothing = jnp.zeros((len(boxes), height, width), bool)
    return lax.fori_loop(0, _blocks(height, len(boxes) * width), fill, nothing)


def paste_on_host(
    masks: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    *,
    threshold: float = 0.5,
) -> np.ndarray:
    """`paste` in NumPy, for images of any size without a program for each."""
    _check_squares(masks, boxes)
    side = masks.shape[-1]
    pasted = np.zeros((len(boxes), *size), bool)
    grown = np.trunc(_grown(boxes.astype(np.float32), side)).astype(np.int32)
    for canvas, mask, (left, top, right, bottom) in zip(
        pasted, masks.astype(np.float32), grown, strict=True
    ):
        rows = np.arange(max(top, 0), min(max(bottom, top) + 1, size[0]))
        columns = np.arange(max(left, 0), min(max(right, left) + 1, size[1]))
        down = _weights(top, bottom, rows.astype(np.int32), side)
        across = _weights(left, right, columns.astype(np.int32), side)
        canvas[np.ix_(rows, columns)] = down @ mask @ across.T > threshold
    return pasted


class Overlap(NamedTuple):
    """Pixels that masks a [D,H,W] and b [M,H,W] have in common."""

    both: Array
    """int32 [D,M]."""
    a: Array
    """int32 [D]: of each of a."""
    b: Array
    """int32 [M]: of each of b."""


def overlap(a: Array, b: Array) -> Overlap:
    """Counts pixels of two sets of masks, bool or integers, 0 for what is outside.

    Raises `UsageError` for masks of different sizes.
    """
    check(
        (
            a.ndim == b.ndim == 3 and a.shape[1:] == b.shape[1:],
            f"masks must be [D,H,W] and [M,H,W], got {a.shape} and {b.shape}",
        )
    )

    def of_rows(start, rows):
        return lax.dynamic_slice_in_dim(a, start, len(rows), axis=1).astype(bool)

    return _counted(of_rows, len(a), b)


def pasted_overlap(
    masks: Array,
    boxes: Array,
    instances: Array,
    canvas: Array | None = None,
    *,
    threshold: float = 0.5,
) -> Overlap:
    """`overlap(paste(masks, boxes, (H, W)), instances)`, without full-size masks.

    Args:
      masks, boxes, threshold: see `paste`.
      instances: uint8 [M,H,W], 1 where the object is seen.
      canvas: uint8 [H,W], 1 in the pixels of the image and 0 beyond it, as
        `types.Batch` has it: what is pasted ends there.  None: all are of the image.
    """
    _check_squares(masks, boxes)
    paint = _painter(masks, boxes, instances.shape[2], threshold)

    def of_rows(start, rows):
        block = paint(rows)
        if canvas is None:
            return block
        return block & (lax.dynamic_slice_in_dim(canvas, start, len(rows)) > 0)[None]

    return _counted(of_rows, len(boxes), instances)


def iou(overlap: Overlap, crowd: Array | None = None) -> Array:
    """Intersection over union, float32 [D,M]; of two empty masks 0.

    crowd: [M], 1 where COCO divides by the area of a alone: the share of a in b.
    """
    alone = jnp.broadcast_to(overlap.a[:, None], overlap.both.shape)
    whole = alone + overlap.b[None] - overlap.both
    if crowd is not None:
        whole = jnp.where(crowd[None] > 0, alone, whole)
    both = overlap.both.astype(jnp.float32)
    return both / jnp.maximum(whole, 1).astype(jnp.float32)


def boxes_around(masks: Array) -> Array:
    """Bounding boxes float32 [...,4] of masks [...,H,W]; zeros for empty ones."""
    sides = []
    for axis in (-2, -1):  # what is seen in each column, then in each row
        seen = jnp.any(masks > 0, axis=axis)
        sides += [
            jnp.argmax(seen, -1),
            seen.shape[-1] - jnp.argmax(seen[..., ::-1], -1),
        ]
    x_min, x_max, y_min, y_max = sides
    boxes = jnp.stack([x_min, y_min, x_max, y_max], axis=-1).astype(jnp.float32)
    return jnp.where(jnp.any(masks > 0, axis=(-2, -1))[..., None], boxes, 0)


def _counted(of_rows: Callable[[Array, Array], Array], count: int, b: Array) -> Overlap:
    """Adds up the blocks of a, bool [D,R,W], that `of_rows(start, rows)` has."""
    _, height, width = b.shape
    values = (count + len(b)) * width

    def add(i, sums):
        start, rows, fresh = _block(i, height, values)
        mine = of_rows(start, start + jnp.arange(rows, dtype=jnp.int32))
        theirs = lax.dynamic_slice_in_dim(b, start, rows, axis=1).astype(bool)
        # Zeros and ones are exact in any precision, and so are sums below 2²⁴.
        left, right = (
            (each & fresh[None, :, None])
            .reshape(len(each), rows * width)
            .astype(jnp.float32)
            for each in (mine, theirs)
        )
        parts = Overlap(left @ right.T, jnp.sum(left, 1), jnp.sum(right, 1))
        return jax.tree.map(lambda s, part: s + part.astype(jnp.int32), sums, parts)

    nothing = Overlap(
        jnp.zeros((count, len(b)), jnp.int32),
        jnp.zeros(count, jnp.int32),
        jnp.zeros(len(b), jnp.int32),
    )
    return lax.fori_loop(0, _blocks(height, values), add, nothing)


def _rows(height: int, values: int) -> int:
    """Rows of a block, given the values of one row."""
    return min(max(BLOCK // max(values, 1), 1), height)


def _blocks(height: int, values: int) -> int:
    return -(-height // max(_rows(height, values), 1))


def _block(i: Array, height: int, values: int) -> tuple[Array, int, Array]:
    """Where block i begins, its rows, and which of them no block before has had: the
    last block ends with the image."""
    rows = _rows(height, values)
    start = jnp.minimum(i * rows, height - rows)
    fresh = start + jnp.arange(rows, dtype=jnp.int32) >= i * rows
    return start, rows, fresh


def _painter(
    masks: Array, boxes: Array, width: int, threshold: float
) -> Callable[[Array], Array]:
    """`rows int32 [R] -> bool [D,R,W]`: those rows of the pasted masks."""
    side = masks.shape[-1]
    grown = _grown(boxes.astype(jnp.float32), side).astype(jnp.int32)  # truncates
    left, top, right, bottom = (each[:, None] for each in corners(grown))
    columns = jnp.arange(width, dtype=jnp.int32)[None]
    across = _weights(left, right, columns, side, jnp)
    exact = lax.Precision.HIGHEST
    masks = masks.astype(jnp.float32)

    def paint(rows: Array) -> Array:
        down = _weights(top, bottom, rows[None], side, jnp)
        lines = jnp.einsum("drs,dst->drt", down, masks, precision=exact)
        return jnp.einsum("drt,dct->drc", lines, across, precision=exact) > threshold

    return paint


def _grown(boxes: Any, side: int) -> Any:
    """Boxes of masks with their border."""
    scale = (side + 2 * _BORDER) / side
    low, high = boxes[..., :2], boxes[..., 2:]
    half, middle = (high - low) * 0.5 * scale, (high + low) * 0.5
    stack = np if isinstance(boxes, np.ndarray) else jnp
    return stack.concatenate([middle - half, middle + half], axis=-1)


def _weights(low: Any, high: Any, pixels: Any, side: int, xp: Any = np) -> Any:
    """float32 [...,side]: what of each value of a mask is in each pixel.

    The mask with its border covers the pixels from `low` to `high`, both included.  The
    border's zeros have no weight, and nor has anything beyond them.
    """
    length = xp.maximum(high - low + 1, 1).astype(xp.float32)
    centre = (pixels - low).astype(xp.float32) + xp.float32(0.5)
    place = xp.float32(side + 2 * _BORDER) / length * centre - xp.float32(0.5)
    values = xp.arange(_BORDER, side + _BORDER, dtype=xp.float32)
    apart = place[..., None] - values.reshape((1,) * place.ndim + (side,))
    return xp.maximum(xp.float32(1) - abs(apart), xp.float32(0))


def _check_squares(masks: Any, boxes: Any) -> None:
    count, *size = masks.shape
    check(
        (
            len(size) == 2 and size[0] == size[1] and boxes.shape == (count, 4),
            "masks must be squares [D,S,S] and boxes [D,4], got "
            f"{masks.shape} and {boxes.shape}",
        )
    )
