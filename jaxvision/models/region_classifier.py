"""The network of R-CNN: a classifier that looks at regions of images, each by itself.

    boxes → each cut out of its image, a margin with it, and warped to one size
          → encoder → average → class and box

Girshick et al. 2014, https://arxiv.org/abs/1311.2524
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.models.encoder import OnEncoder
from jaxvision.ops.boxes import centre_form, corner_form
from jaxvision.ops.pooling import global_avg_pool
from jaxvision.ops.roi_align import roi_align
from jaxvision.types import Array


class RegionClassifier(OnEncoder):
    """Outputs: `level1`, the images, of which the entry `boxes` takes regions.

    The entry takes boxes [B,R,4] in pixels of the images, then the images, and returns
    `class_logits` [B,R,num_classes], whose first column is the background, and
    `box_codes` [B,R,num_classes,4]: what `tasks.fast_rcnn(levels=1)` asks for.

    Any image size.
    """

    side: int = 224
    """Of a region that the encoder sees, in pixels."""
    stride: int = 32
    """Of the encoder's map that is averaged."""
    margin: float = 1.0
    """By how much boxes are enlarged before they are cut out; 1: not at all."""

    def __call__(self, images: Array, *, train: bool) -> dict[str, Array]:
        if self.is_initializing():  # all parameters are made here
            self.boxes(jnp.ones((1, 1, 4)), images[:1], train=train)
        return {"level1": images}

    @nn.compact
    def boxes(self, boxes: Array, images: Array, *, train: bool) -> dict[str, Array]:
        """What class each region shows, and where its box is."""
        cut = functools.partial(roi_align, size=(self.side, self.side), scale=1.0)
        regions = jax.vmap(cut)(images, enlarged(boxes, self.margin))
        regions = regions.reshape(-1, *regions.shape[2:])
        (seen,) = self._encode(regions, (self.stride,), train=train).values()
        features = global_avg_pool(seen)
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        scores = dense(self.num_classes, name="cls_score")(features)
        codes = dense(4 * self.num_classes, name="bbox_pred")(features)
        count = boxes.shape[:2]
        found = {
            "class_logits": scores.reshape(*count, self.num_classes),
            "box_codes": codes.reshape(*count, self.num_classes, 4),
        }
        return {name: array.astype(jnp.float32) for name, array in found.items()}


def enlarged(boxes: Array, factor: float) -> Array:
    """Boxes [...,4] about their centres."""
    return corner_form(centre_form(boxes).at[..., 2:].multiply(factor))
