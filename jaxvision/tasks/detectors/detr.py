"""DETR around its network.  Carion et al. 2020, https://arxiv.org/abs/2005.12872"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxvision.errors import check
from jaxvision.losses import giou_loss
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import Detector

MAPS = ("memory",)
"""What the queries look at."""


@DETECTORS.recorded
def detr(
    *,
    queries: int = 100,
    layers: int = 6,
    class_cost: float = 1.0,
    box_weight: float = 5.0,
    giou_weight: float = 2.0,
    no_object: float = 0.1,
) -> Detector:
    """That of `detr_resnet50`, whose last class is no object.

    Each layer of queries is matched and learns for itself: every object is found by one
    of its queries, so that the sum of costs is the least, and the others find nothing.
    All queries after the last layer are found, by their best class, and none suppresses
    another.  Their reference is the whole image: where more than half of it is a crowd,
    queries without an object learn nothing.

    Args:
      queries, layers: those of the model, `queries` and `decoder_layers`.
      class_cost: of the probability of the class, when queries and objects are matched.
      box_weight: of the L1 distance of centres, widths and heights, as shares of the
        image, in the cost and in the loss, a sum by the number of objects of the batch.
      giou_weight: the same of `1 - GIoU`.
      no_object: what a query that finds nothing counts in the mean of cross-entropies.
    """
    check(
        (queries >= 1, f"queries must be at least 1, got {queries}"),
        (layers >= 1, f"layers must be at least 1, got {layers}"),
        (0 <= no_object <= 1, f"no_object must be from 0 to 1, got {no_object}"),
        *(
            (weight >= 0, f"{name} must be at least 0, got {weight}")
            for name, weight in (
                ("class_cost", class_cost),
                ("box_weight", box_weight),
                ("giou_weight", giou_weight),
            )
        ),
    )

    def anchors(image, maps):
        del maps
        whole = np.array([[0, 0, image[1], image[0]]], np.float32)
        return [np.repeat(whole, queries, axis=0)] * layers

    def match(outputs, levels, objects):
        logits = outputs["class_logits"].reshape(layers, queries, -1)
        shares = jax.nn.sigmoid(outputs["box_codes"]).reshape(layers, queries, 4)
        wanted = box_ops.centre_form(objects.boxes) / _sides(levels)
        apart = jnp.sum(jnp.abs(shares[:, :, None] - wanted[None, None]), axis=-1)
        overlap = box_ops.pairwise(box_ops.giou)(
            box_ops.corner_form(shares), box_ops.corner_form(wanted)[None]
        )
        right = jax.nn.softmax(logits)[:, :, objects.classes]
        cost = box_weight * apart - giou_weight * overlap - class_cost * right
        of_layer = jax.vmap(lambda cost: matching.hungarian(cost, objects.valid))
        return of_layer(lax.stop_gradient(cost)).ravel()

    def losses(outputs, levels, objects, matches, step):
        del step
        logits, found = outputs["class_logits"], matches >= 0
        classes = matching.gather(objects.classes, matches, logits.shape[-1] - 1)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
        counts = jnp.where(found, 1.0, no_object)
        counts = jnp.where(matches == matching.IGNORED, 0.0, counts)
        shares = jax.nn.sigmoid(outputs["box_codes"])
        wanted = box_ops.centre_form(objects.boxes) / _sides(levels)
        # Where there is no object the query stands for it, so that all is finite.
        wanted = jnp.where(found[:, None], matching.gather(wanted, matches), shares)
        wanted = lax.stop_gradient(wanted)
        apart = jnp.sum(jnp.abs(shares - wanted), axis=-1)
        corners = box_ops.corner_form(shares), box_ops.corner_form(wanted)
        overlap = giou_loss(*corners, eps=0.0)
        totals = {
            "classification": jnp.sum(entropy * counts),
            "boxes": box_weight * jnp.sum(jnp.where(found, apart, 0)),
            "giou": giou_weight * jnp.sum(jnp.where(found, overlap, 0)),
        }
        # The loss is the sum of those of the layers, which have as many objects each.
        of_layer = jnp.sum(found, dtype=jnp.float32) / layers
        weights = {
            "classification": jnp.sum(counts) / layers,
            "boxes": of_layer,
            "giou": of_layer,
        }
        return totals, weights

    def decode(outputs, levels, frame):
        last = slice(-queries, None)
        scores = jax.nn.softmax(outputs["class_logits"][last])[:, :-1]
        shares = jax.nn.sigmoid(outputs["box_codes"][last])
        boxes = box_ops.corner_form(shares * _sides(levels))
        best, order = lax.top_k(jnp.max(scores, axis=1), queries)
        classes = jnp.argmax(scores, axis=1).astype(jnp.int32)[order]
        return box_ops.Detections(box_ops.clip_to(boxes[order], frame), best, classes)

    return Detector(MAPS, anchors, match, losses, decode, background=1)


def _sides(levels) -> jax.Array:
    """Width and height of the image, twice, [1,4]."""
    return jnp.asarray(np.tile(levels[0][:1, 2:], 2))
