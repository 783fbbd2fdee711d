"""CSPDarknet, the encoder of YOLOX.  Ge et al. 2021, https://arxiv.org/abs/2107.08430

    images → squares of four pixels as one → 3×3 unit
           → four stages: 3×3 unit with stride 2, cross-stage blocks; in the last one a
             spatial pyramid between the two
           → global average pooling → linear layer

A unit is a convolution, its normalisation and SiLU.  The blocks are those of Darknet
(Redmon and Farhadi 2018, https://arxiv.org/abs/1804.02767), whose stages Wang et al.
2019, https://arxiv.org/abs/1911.11929, made partial.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.cross_stage import (
    CrossStage,
    DepthwiseUnit,
    SpatialPyramid,
    unit,
)
from jaxvision.layers.imagenet import BYTES
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.pooling import global_avg_pool
from jaxvision.ops.space_to_depth import space_to_depth


class CSPDarknet(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits`, `logits`.

    Any image size.  Images are red, green and blue as everywhere; the first convolution
    sees them in the opposite order, in which OpenCV gave them to the authors.
    """

    width: int = 32
    """Channels of `stage1`; each further one has twice as many."""
    blocks: int = 1
    """Of the second and the last stage; the two between have three times as many."""
    depthwise: bool = False
    """Whether 3×3 convolutions are of single channels, with a 1×1 after them."""
    num_classes: int = 1000
    remat: bool = False
    """Whether training computes the inside of cross-stage blocks twice, to save
    memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        make = unit(train=train, dtype=self.dtype)
        spatial = partial(DepthwiseUnit, unit=make) if self.depthwise else make
        cross_stage = nn.remat(CrossStage) if self.remat else CrossStage
        x = space_to_depth(images[..., ::-1])
        outputs = {"stage1": (x := make(self.width, 3, name="stem.conv")(x))}
        for stage, times in enumerate((1, 3, 3, 1), 2):
            name, last = f"dark{stage}", stage == 5
            features = 2 * x.shape[-1]
            x = spatial(features, 3, strides=2, name=f"{name}.0")(x)
            if last:
                x = SpatialPyramid(features, make, name=f"{name}.1")(x)
            x = cross_stage(
                features,
                times * self.blocks,
                make,
                spatial,
                shortcut=not last,
                name=f"{name}.{2 if last else 1}",
            )(x)
            outputs[f"stage{stage}"] = x
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier",
        )


PAPER = "Ge et al. 2021, https://arxiv.org/abs/2107.08430"

SIZES = {
    "nano": (16, 1),
    "tiny": (24, 1),
    "s": (32, 1),
    "m": (48, 2),
    "l": (64, 3),
    "x": (80, 4),
}
"""Of each size of YOLOX, `width` and `blocks`."""

VARIANTS = {
    f"cspdarknet_{size}": Variant(
        partial(CSPDarknet, width=width, blocks=blocks, depthwise=size == "nano"),
        PAPER,
        sources=OURS,
        normalisation=BYTES,
    )
    for size, (width, blocks) in SIZES.items()
}
