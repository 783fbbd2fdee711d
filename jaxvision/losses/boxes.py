"""Losses of predicted boxes.  Each maps boxes and targets, both [..., 4], to [...].

`eps` is added to denominators; 1e-7 is what torchvision adds, whose boxes are in
pixels.  Boxes that are nearly empty, in whatever unit, then lose their gradient slowly.
"""

import jax
import jax.numpy as jnp

from jaxvision.ops import boxes as ops

Array = jax.Array

EPS = 1e-7


def iou_loss(boxes: Array, targets: Array, *, eps: float = EPS) -> Array:
    """`1 - IoU`."""
    return 1 - ops.iou(boxes, targets, eps=eps)


def squared_iou_loss(boxes: Array, targets: Array, *, eps: float = EPS) -> Array:
    """`1 - IoU²`, as in YOLOX (Ge et al. 2021, https://arxiv.org/abs/2107.08430)."""
    return 1 - ops.iou(boxes, targets, eps=eps) ** 2


def log_iou_loss(boxes: Array, targets: Array, *, eps: float = EPS) -> Array:
    """`-log IoU`, of an IoU of at least `eps`.

    Yu et al. 2016, UnitBox, https://arxiv.org/abs/1608.01471, algorithm 1.
    """
    return -jnp.log(jnp.maximum(ops.iou(boxes, targets, eps=eps), eps))


def giou_loss(boxes: Array, targets: Array, *, eps: float = EPS) -> Array:
    """`1 - GIoU`: Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630."""
    return 1 - ops.giou(boxes, targets, eps=eps)


def diou_loss(boxes: Array, targets: Array, *, eps: float = EPS) -> Array:
    """`1 - DIoU`: Zheng et al. 2020, https://arxiv.org/abs/1911.08287."""
    return 1 - ops.diou(boxes, targets, eps=eps)


def ciou_loss(boxes: Array, targets: Array, *, eps: float = EPS) -> Array:
    """`1 - CIoU`: Zheng et al. 2020, https://arxiv.org/abs/1911.08287."""
    return 1 - ops.ciou(boxes, targets, eps=eps)
