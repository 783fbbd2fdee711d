"""Keypoints of objects, each as a map of where it may be within a region.

He et al. 2017, Mask R-CNN, https://arxiv.org/abs/1703.06870, section 5
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxvision.errors import check
from jaxvision.ops import matching
from jaxvision.ops.boxes.forms import corners
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import (
    REGION_BLOCK,
    Detector,
    Objects,
    RegionHead,
    Regions,
    with_objects,
)
from jaxvision.tasks.detectors.rcnn import faster_rcnn
from jaxvision.types import Array, Outputs

SHARPNESS = -0.75
"""Of the bicubic interpolation, as PyTorch has it."""

BLOCK = 64
"""Rows and columns of pixels whose values are computed at once."""


@DETECTORS.recorded
def keypoint_rcnn(*, keypoint_regions: int = 128, **options) -> Detector:
    """That of `keypointrcnn_resnet50_fpn`.

    To the losses of `faster_rcnn` it adds the mean cross-entropy of the places of all
    labelled keypoints that lie in their regions (`keypoints`).

    Args:
      keypoint_regions: regions of an image whose keypoints teach, at most: as many as
        may have an object.
      options: see `faster_rcnn`.
    """
    check(
        (
            keypoint_regions >= 1,
            f"keypoint_regions must be at least 1, got {keypoint_regions}",
        )
    )
    detector = faster_rcnn(**options)
    return detector._replace(heads=(*detector.heads, keypoint_head(keypoint_regions)))


def keypoint_head(count: int) -> RegionHead:
    """Arguments: see `keypoint_rcnn`."""

    def choose(key: Array, regions: Regions, objects: Objects) -> Regions:
        del key, objects
        return with_objects(regions, count)

    def losses(outputs: Outputs, regions: Regions, objects: Objects):
        assert objects.keypoints is not None
        logits = outputs["keypoint_logits"]
        side, said, there = logits.shape[1], logits.shape[3], objects.keypoints.shape[1]
        check(
            (
                said == there,
                f"the model has {said} keypoints and the objects have {there}: create "
                f"the model with num_keypoints={there}",
            )
        )
        points = matching.gather(objects.keypoints, regions.matches)
        places, inside = places_of(points, regions.boxes, side)
        counts = inside & (regions.matches >= 0)[:, None]
        entropy = optax.softmax_cross_entropy_with_integer_labels(
            jnp.moveaxis(logits, -1, 1).reshape(*places.shape, -1), places
        )
        total = jnp.sum(jnp.where(counts, entropy, 0))
        return {"keypoints": total}, jnp.sum(counts, dtype=jnp.float32)

    def decode(outputs: Outputs, found: Mapping[str, Array], frame: Array):
        del frame
        points, scores = most_likely(outputs["keypoint_logits"], found["boxes"])
        there = (found["classes"] >= 0)[:, None]
        certain = jnp.where(there, 1.0, 0.0)
        points = jnp.where(there[..., None], points, 0)
        certain = jnp.broadcast_to(certain, points.shape[:2])[..., None]
        return {
            "keypoints": jnp.concatenate([points, certain], axis=-1),
            "keypoint_scores": jnp.where(there, scores, 0),
        }

    return RegionHead(
        "keypoints",
        choose,
        losses,
        decode,
        reads=("keypoints",),
        block=REGION_BLOCK,
        taught=lambda batch: np.any(batch["keypoints"][..., 2] > 0, axis=2),
        measured="keypoint",
    )


def places_of(points: Array, boxes: Array, side: int) -> tuple[Array, Array]:
    """The cell of each point [R,K,3] in the grid of its box [R,4], int32 [R,K], row
    after row, and whether it is labelled and in the box; cell 0 where not.

    A point on the right or the lower edge belongs to the last cell.
    """
    x_min, y_min, x_max, y_max = (each[:, None] for each in corners(boxes))

    def cell(place: Array, low: Array, high: Array) -> Array:
        scale = side / jnp.maximum(high - low, jnp.finfo(jnp.float32).tiny)
        number = jnp.floor((place - low) * scale)
        number = jnp.clip(number, -1, side)  # what is far outside fits no integer
        return jnp.where(place == high, side - 1, number).astype(jnp.int32)

    x = cell(points[..., 0], x_min, x_max)
    y = cell(points[..., 1], y_min, y_max)
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side) & (points[..., 2] > 0)
    return jnp.where(inside, y * side + x, 0), inside


def most_likely(logits: Array, boxes: Array) -> tuple[Array, Array]:
    """Where each keypoint is most likely, float32 [D,K,2], and its logit there [D,K].

    As in torchvision the maps are enlarged to the pixels of their boxes, bicubic, and
    of the pixel with the highest value the centre is taken.  It is done in blocks of
    pixels, as many as a box has.

    Args:
      logits: [D,S,S,K].
      boxes: [D,4] in pixels.
    """
    side, block = logits.shape[1], jnp.arange(BLOCK, dtype=jnp.int32)

    def of_box(one):
        maps, (left, top, right, bottom) = one
        maps = jnp.moveaxis(maps, -1, 0)
        size = jnp.maximum(jnp.stack([bottom - top, right - left]), 1)
        pixels = jnp.ceil(size)
        rows, columns = pixels.astype(jnp.int32)
        across = (columns + BLOCK - 1) // BLOCK

        def better(number, best):
            values, places = best
            y, x = number // across * BLOCK + block, number % across * BLOCK + block
            down = enlarging(y, rows, side)
            along = enlarging(x, columns, side)
            here = jnp.einsum("yp,kpq,xq->kyx", down, maps, along)
            there = (y < rows)[:, None] & (x < columns)[None]
            here = jnp.where(there[None], here, -jnp.inf).reshape(len(maps), -1)
            first, highest = jnp.argmax(here, axis=1), jnp.max(here, axis=1)
            place = jnp.stack([y[first // BLOCK], x[first % BLOCK]], axis=1)
            higher = highest > values
            return (
                jnp.where(higher, highest, values),
                jnp.where(higher[:, None], place, places),
            )

        nothing = jnp.full(len(maps), -jnp.inf), jnp.zeros((len(maps), 2), jnp.int32)
        blocks = across * ((rows + BLOCK - 1) // BLOCK)
        values, places = lax.fori_loop(0, blocks, better, nothing)
        centre = (places.astype(jnp.float32) + 0.5) * (size / pixels)[None]
        return centre[:, ::-1] + jnp.stack([left, top])[None], values

    return lax.map(of_box, (logits, boxes))


def enlarging(places: Array, size: Array, side: int) -> Array:
    """What each of `side` entries counts for the pixels at `places` [N], of `size` to
    which they are enlarged, float32 [N,side].

    Keys' cubic of a = `SHARPNESS`, by the centres of pixels; the outermost entries are
    repeated.
    """
    scale = side / size.astype(jnp.float32)
    source = (places.astype(jnp.float32) + 0.5) * scale - 0.5
    low = jnp.floor(source)
    t, a = source - low, SHARPNESS

    def near(d):
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d):
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    weights = jnp.zeros((len(places), side), jnp.float32)
    for offset, weight in (
        (-1, far(t + 1)),
        (0, near(t)),
        (1, near(1 - t)),
        (2, far(2 - t)),
    ):
        entry = jnp.clip(low.astype(jnp.int32) + offset, 0, side - 1)
        weights += jax.nn.one_hot(entry, side) * weight[:, None]
    return weights
