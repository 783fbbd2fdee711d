"""Whether the anchors of a detector are of the sizes that objects have."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.tasks.detectors.detector import Detector, Levels, Objects, joined
from jaxvision.types import Batch, Outputs

FEW = 0.1
"""Share of objects that may be without a fitting anchor before it is said."""

LISTED = 12
"""Kinds of anchors that are named."""


def fit_of_anchors(
    detector: Detector, outputs: Outputs, batches: Sequence[Batch]
) -> list[str]:
    """What of the anchors does not fit the objects, in words; empty if all does.

    Args:
      outputs: of the model, abstract: the sizes of its maps.
      batches: of training, on the host, as the model is given them.
    """
    levels = detector.levels(outputs, batches[0]["image"].shape[1:3])
    kinds, kind_of = _kinds(levels)
    used, alone, sides = np.zeros(len(kinds), bool), [], []
    matched = jax.jit(lambda batch: _matched(detector, outputs, levels, batch))
    for batch in batches:
        matches, fits, valid = jax.tree.map(np.asarray, matched(_annotations(batch)))
        used |= np.bincount(kind_of[(matches >= 0).any(0)], minlength=len(kinds)) > 0
        found = np.zeros(valid.shape, bool)
        rows, anchors = np.nonzero(fits)
        found[rows, matches[rows, anchors]] = True
        size = batch["boxes"][..., 2:] - batch["boxes"][..., :2]
        sides.append(size[valid])
        alone.append(size[valid & ~found])
    objects, lonely = np.concatenate(sides), np.concatenate(alone)
    images = sum(len(batch["image"]) for batch in batches)
    if not len(objects):
        return [f"there is no object in {images:,} training images"]
    said = []
    if len(lonely) > FEW * len(objects):
        close = f" with an IoU of {detector.close}" if detector.close else ""
        said.append(
            f"{len(lonely):,} of {len(objects):,} objects in {images:,} training "
            f"images have no anchor{close}: their sides are {_range(lonely)} pixels, "
            f"those of the anchors {_range(kinds)}.  Give the detector others, or the "
            "network larger images"
        )
    if not used.all():
        idle = ", ".join(f"{w:.0f}×{h:.0f}" for w, h in kinds[~used][:LISTED])
        idle += " …" * bool(np.sum(~used) > LISTED)
        said.append(
            f"{(~used).sum()} of {len(kinds)} kinds of anchors match no object in "
            f"{images:,} training images, those of {idle} pixels (width × height): the "
            f"sides of objects are {_range(objects)} pixels"
        )
    return said


def _annotations(batch: Batch) -> Batch:
    return {k: batch[k] for k in ("boxes", "classes", "crowd") if k in batch}


def _matched(detector: Detector, outputs: Outputs, levels: Levels, batch: Batch):
    """The matches int32 [B,A], which of them fit, bool [B,A], and which objects are to
    be found, bool [B,M]; image after image, since all pairs of a batch are many."""
    references = joined(levels)
    crowd = batch.get("crowd", jnp.zeros_like(batch["classes"]))

    def of_image(one):
        boxes, classes, crowd = one
        # A matcher that looks at predictions sees those of a network without opinion.
        blank = {name: jnp.zeros(x.shape[1:], x.dtype) for name, x in outputs.items()}
        valid = matching.findable(classes, crowd)
        objects = Objects(boxes, jnp.maximum(classes, 0), valid)
        matches = detector.match(blank, levels, objects)
        overlaps = box_ops.iou(matching.gather(boxes, matches), references)
        return matches, (matches >= 0) & (overlaps >= detector.close), valid

    return jax.lax.map(of_image, (batch["boxes"], batch["classes"], crowd))


def _kinds(levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of each kind of anchor of each level, [K,2], and the kind of
    each anchor, [A]."""
    described = [
        np.column_stack(
            [np.full(len(level), i), (level[:, 2:] - level[:, :2]).round(1)]
        )
        for i, level in enumerate(levels)
    ]
    kinds, kind_of = np.unique(np.concatenate(described), axis=0, return_inverse=True)
    return kinds[:, 1:], kind_of.reshape(-1)


def _range(sides: np.ndarray) -> str:
    """The shortest and the longest side, but for one in twenty at either end."""
    low, high = np.quantile(sides, (0.05, 0.95))
    return f"{low:.0f} to {high:.0f}"
