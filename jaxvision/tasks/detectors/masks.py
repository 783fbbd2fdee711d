"""Masks of objects, one for each region.

He et al. 2017, Mask R-CNN, https://arxiv.org/abs/1703.06870
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.errors import check
from jaxvision.ops import matching
from jaxvision.ops.roi_align import roi_align_of_each
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import (
    REGION_BLOCK,
    Detector,
    Objects,
    RegionHead,
    Regions,
    of_class,
    with_objects,
)
from jaxvision.tasks.detectors.rcnn import faster_rcnn
from jaxvision.types import Array, Outputs


@DETECTORS.recorded
def mask_rcnn(
    *,
    masks: int = 128,
    block: int = REGION_BLOCK,
    aligned: bool = False,
    **options,
) -> Detector:
    """That of `maskrcnn_resnet50_fpn` and, with `block=0`, its second version.

    To the losses of `faster_rcnn` it adds the mean cross-entropy of the pixels of all
    masks, each within its region and of the class of its object (`masks`).  Objects
    whose mask has no pixel teach none.

    Args:
      masks: regions of an image whose masks teach, at most: as many as may have an
        object.
      block: of them that are looked at together, see `in_blocks`.  0: all, as where
        batch normalisation, such as that of the second version, is to see all.
      aligned: whether the pixels of masks that are learned have their centres at 0.5,
        as boxes have.  torchvision's have not, and what it learns and finds is half a
        pixel too high and too far left: little for people in photographs, and much for
        strokes of two pixels.
      options: see `faster_rcnn`.
    """
    check(
        (masks >= 1, f"masks must be at least 1, got {masks}"),
        (block >= 0, f"block must not be negative, got {block}"),
    )
    detector = faster_rcnn(**options)
    return detector._replace(heads=(*detector.heads, mask_head(masks, block, aligned)))


def mask_head(count: int, block: int, aligned: bool) -> RegionHead:
    """Arguments: see `mask_rcnn`."""

    def choose(key: Array, regions: Regions, objects: Objects) -> Regions:
        del key
        chosen = with_objects(regions, count)
        assert objects.instances is not None
        seen = jnp.any(objects.instances > 0, axis=(1, 2))
        taught = matching.gather(seen, chosen.matches, False)
        matches = jnp.where(taught, chosen.matches, matching.IGNORED)
        return chosen._replace(matches=matches)

    def losses(outputs: Outputs, regions: Regions, objects: Objects):
        assert regions.annotated is not None and objects.instances is not None
        logits, positive = outputs["mask_logits"], regions.matches >= 0
        of_object = jnp.maximum(regions.matches, 0)
        classes = matching.gather(objects.classes + 1, regions.matches)
        targets = roi_align_of_each(
            objects.instances,
            regions.annotated,
            of_object,
            side=logits.shape[1],
            aligned=aligned,
        )
        entropy = optax.sigmoid_binary_cross_entropy(_own(logits, classes), targets)
        pixels = logits.shape[1] * logits.shape[2]
        count = jnp.sum(positive, dtype=jnp.float32) * pixels
        total = jnp.sum(jnp.where(positive[:, None, None], entropy, 0))
        return {"masks": total}, count

    def decode(outputs: Outputs, found: Mapping[str, Array], frame: Array):
        del frame
        classes = found["classes"]
        masks = jax.nn.sigmoid(_own(outputs["mask_logits"], classes + 1))
        return {"masks": jnp.where((classes >= 0)[:, None, None], masks, 0)}

    return RegionHead(
        "masks",
        choose,
        losses,
        decode,
        reads=("instances",),
        of_classes="mask_logits",
        block=block,
        taught=lambda batch: np.any(batch["instances"], axis=(2, 3)),
        measured="mask",
    )


def _own(logits: Array, classes: Array) -> Array:
    """The masks of their classes, [R,S,S] of [R,S,S,K]."""
    return of_class(jnp.moveaxis(logits, -1, 1), classes)
