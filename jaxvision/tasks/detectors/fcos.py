"""FCOS around its network.  Tian et al. 2019, https://arxiv.org/abs/1904.01355"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxvision.losses import giou_loss
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.ops.boxes import anchors as anchor_ops
from jaxvision.ops.matching.centre_sampling import reaches
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import (
    Detector,
    boxes_to_find,
    check_decoding,
    focal_of_classes,
    joined,
)
from jaxvision.tasks.detectors.retinanet import LEVELS

STRIDES = (8, 16, 32, 64, 128)


@DETECTORS.recorded
def fcos(
    *,
    strides: Sequence[int] = STRIDES,
    radius: float = 1.5,
    alpha: float = 0.25,
    gamma: float = 2.0,
    least_score: float = 0.2,
    candidates: int = 1000,
    overlap: float = 0.6,
    most: int = 100,
) -> Detector:
    """That of `fcos_resnet50_fpn`.

    The losses are those of torchvision: sums by the number of places that have an
    object, over the whole batch; a batch without any teaches nothing.  As there, places
    are the first pixels of their strides, and not their centres.

    Args:
      strides: of each map, in pixels.
      radius: see `matching.centre_sampling`.
      alpha, gamma: of the focal loss, see `losses.sigmoid_focal`.
      least_score, candidates, overlap, most: see `ops.boxes.best_of_levels`; a score is
        the root of the class's times the centredness.
    """
    check_decoding(
        least_score=least_score, candidates=candidates, overlap=overlap, most=most
    )
    coder = box_ops.distances()

    def anchors(image, maps):
        sides = [[stride] for stride in strides]
        return anchor_ops.anchors(image, maps, sides, [[1.0]] * len(sides))

    def match(outputs, levels, objects):
        del outputs
        references = joined(levels)
        reach = reaches(references, [len(level) for level in levels])
        return matching.centre_sampling(
            references, reach, objects.boxes, objects.valid, radius=radius
        )

    def losses(outputs, levels, objects, matches, step):
        del step
        logits, codes = outputs["class_logits"], outputs["box_codes"]
        references = joined(levels)
        positive = matches >= 0
        focal = focal_of_classes(logits, objects, matches, alpha=alpha, gamma=gamma)
        boxes = boxes_to_find(objects, matches, references)
        errors = giou_loss(coder.decode(codes, references), boxes)
        central = optax.sigmoid_binary_cross_entropy(
            outputs["centredness"], _centredness(coder.encode(boxes, references))
        )
        totals = {
            "classification": focal,
            "boxes": jnp.sum(jnp.where(positive, errors, 0)),
            "centredness": jnp.sum(jnp.where(positive, central, 0)),
        }
        return totals, jnp.sum(positive, dtype=jnp.float32)

    def scores(outputs):
        central = jax.nn.sigmoid(outputs["centredness"])[:, None]
        return jnp.sqrt(jax.nn.sigmoid(outputs["class_logits"]) * central)

    def boxes(outputs, references):
        return coder.decode(outputs["box_codes"], references)

    def decode(outputs, levels, frame):
        return box_ops.best_of_levels(
            scores(outputs),
            outputs["box_codes"],
            levels,
            coder.decode,
            frame,
            least=least_score,
            candidates=candidates,
            threshold=overlap,
            outputs=most,
        )

    return Detector(
        LEVELS,
        anchors,
        match,
        losses,
        decode,
        scores=scores,
        boxes=boxes,
        judged=("class_logits", "centredness"),
    )


def _centredness(distances: jax.Array) -> jax.Array:
    """Equation 3, from the distances [A,4] to the sides of a box around the place."""
    left, top, right, bottom = (distances[:, i] for i in range(4))
    across = jnp.minimum(left, right) / jnp.maximum(left, right)
    down = jnp.minimum(top, bottom) / jnp.maximum(top, bottom)
    return jnp.sqrt(across * down)
