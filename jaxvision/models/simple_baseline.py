"""Simple Baseline: heatmaps of keypoints.  Xiao et al. 2018

https://arxiv.org/abs/1804.06208

    images → encoder, its last map at 1/32 of the image's size
           → three transposed 4×4 convolutions, each to twice the size
           → 1×1 convolution: a map for each keypoint, at 1/4 of the image's size

What heatmaps mean, and losses, is said by `tasks.heatmaps` and `tasks.soft_argmax`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.up_conv import ConvTranspose
from jaxvision.models.encoder import OnEncoder, check_sides
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu

STRIDE = 32

SOURCES = {"release": ((r"^backbone\.", ""),)}
"""The authors' release, whose encoders have torchvision's names."""

init = nn.initializers.normal(0.001)


class SimpleBaseline(OnEncoder):
    """Outputs: the encoder's map of stride 32 by its name, `up16`, `up8` and `up4`, and
    `heatmaps` [B,H/4,W/4,num_classes], float32.

    Images whose sides are multiples of 32, so that the cells of the heatmaps share them
    evenly.
    """

    encoder: Any = "resnet50"
    num_classes: int = 17
    """Keypoints: as many as COCO has; 0: no heatmaps."""
    channels: Sequence[int] = (256, 256, 256)
    """Of the transposed convolutions."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, STRIDE, self)
        outputs = self._encode(images, (STRIDE,), train=train)
        (x,) = outputs.values()
        norm = batch_norm(train=train, dtype=self.dtype)
        stride = STRIDE
        for i, features in enumerate(self.channels):
            x = ConvTranspose(
                features,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=init,
                name=f"deconv_layers.{3 * i}",
            )(x)
            x = relu(norm(name=f"deconv_layers.{3 * i + 1}")(x))
            stride //= 2
            outputs[f"up{stride}"] = x
        if not self.num_classes:
            return outputs
        x = Conv(
            self.num_classes, 1, dtype=self.dtype, kernel_init=init, name="final_layer"
        )(x)
        return {**outputs, "heatmaps": x.astype(jnp.float32)}


PAPER = "Xiao et al. 2018, https://arxiv.org/abs/1804.06208"

VARIANTS = {
    f"simplebaseline_{encoder}": Variant(
        partial(SimpleBaseline, encoder=encoder), PAPER, (256, 192, 3), SOURCES
    )
    for encoder in ("resnet50", "resnet101", "resnet152")
}
