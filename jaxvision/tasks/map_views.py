"""Test-time augmentation of maps: an image in several sizes, mirrored, or in windows.

Each wraps a task, which learns as before; what is merged are the probabilities of the
classes, moved back to the pixels that they belong to.  They compose from the inside
out: the image is first resized, and windows are then cut of each size in

    with_windows(with_scales(task, (0.75, 1.0, 1.25), mirror=True), 512, overlap=0.33)
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.upsample import resize
from jaxvision.recipes import TASKS
from jaxvision.tasks.views import measured_through
from jaxvision.types import Array, Outputs, Task


@TASKS.recorded
def with_scales(
    task: Task,
    scales: Sequence[float] = (1.0,),
    *,
    mirror: bool = False,
    multiple: int = 1,
) -> Task:
    """`task`, measured and used with the mean over several sizes of each image, and of
    their mirror images.

    Args:
      task: of a model whose `logits` are [B,H,W,C].
      scales: of height and width; the image is resized bilinearly, antialiased where it
        shrinks.
      mirror: also of each size its mirror image.
      multiple: the sides of the sizes are rounded to this number, for networks that
        want them so.
    """
    check(
        (
            len(scales) > 0 and all(0 < scale <= 16 for scale in scales),
            f"scales must be factors in (0, 16], got {scales}",
        ),
        (multiple >= 1, f"multiple must be at least 1, got {multiple}"),
    )

    def seen(call: Callable[[Array], Outputs], images: Array) -> Outputs:
        size = images.shape[1:3]
        shares = []
        for scale in scales:
            sides = [max(round(n * scale / multiple), 1) * multiple for n in size]
            shape = (len(images), *sides, images.shape[-1])
            view = jax.image.resize(images, shape, "bilinear")
            shares.append(resize(_shares(call(view), view), size))
            if mirror:
                mirrored = _shares(call(view[:, :, ::-1]), view)
                shares.append(resize(mirrored[:, :, ::-1], size))
        return _as_logits(sum(shares[1:], shares[0]))

    def again(task: Task) -> Task:
        return with_scales(task, scales, mirror=mirror, multiple=multiple)

    return measured_through(task, seen, again)


@TASKS.recorded
def with_windows(
    task: Task, size: int | tuple[int, int], *, overlap: float = 1 / 3
) -> Task:
    """`task`, measured and used with a window that slides over each image: the network
    sees a part of this size at a time, and where parts overlap their mean counts.

    Windows begin every `(1 - overlap) · size` pixels, rounded; the last ones end with
    the image.  They are computed one after the other by one program, so that
    memory does not grow with their number.

    Args:
      task: of a model whose `logits` are [B,H,W,C].
      size: height and width, or the side of a square; an image that is smaller is
        refused: pad it (`data.padded`).
      overlap: share of a window, in [0, 1).
    """
    height, width = (size, size) if isinstance(size, int) else size
    check(
        (min(height, width) >= 1, f"size of the windows must be positive, got {size}"),
        (0 <= overlap < 1, f"overlap must be in [0, 1), got {overlap}"),
    )

    def fits(images: Array) -> None:
        rows, columns = images.shape[1:3]
        check(
            (
                height <= rows and width <= columns,
                f"windows of {height}×{width} pixels do not fit into images of "
                f"{rows}×{columns}: take smaller ones, or pad the images "
                "(data.padded)",
            )
        )

    def seen(call: Callable[[Array], Outputs], images: Array) -> Outputs:
        fits(images)
        count, rows, columns, channels = images.shape
        tops, lefts = _starts(rows, height, overlap), _starts(columns, width, overlap)
        places = jnp.array([(top, left) for top in tops for left in lefts])

        def look(place: Array) -> Array:
            start, part = (0, *place, 0), (count, height, width, channels)
            window = lax.dynamic_slice(images, start, part)
            return _shares(call(window), window)

        def add(sums, place):
            start = (0, *place, 0)
            shares = look(place)
            there = lax.dynamic_slice(sums, start, shares.shape)
            return lax.dynamic_update_slice(sums, there + shares, start), None

        classes = jax.eval_shape(look, places[0]).shape[-1]
        nothing = jnp.zeros((count, rows, columns, classes), jnp.float32)
        return _as_logits(lax.scan(add, nothing, places)[0])

    def again(task: Task) -> Task:
        return with_windows(task, size, overlap=overlap)

    return measured_through(task, seen, again, fits)


def _starts(extent: int, size: int, overlap: float) -> list[int]:
    """Where windows begin along an axis."""
    step = max(round((1 - overlap) * size), 1)
    return [*range(0, extent - size, step), extent - size]


def _shares(outputs: Outputs, images: Array) -> Array:
    """Probabilities [B,H,W,C] for the pixels of the images."""
    shares = jax.nn.softmax(outputs["logits"].astype(jnp.float32))
    return resize(shares, images.shape[1:3])


def _as_logits(shares: Array) -> Outputs:
    """Of sums of probabilities, whose scale does not matter."""
    shares = shares / jnp.sum(shares, axis=-1, keepdims=True)
    return {"logits": jnp.log(jnp.maximum(shares, jnp.finfo(shares.dtype).tiny))}
