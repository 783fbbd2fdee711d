"""A feature pyramid network for every pixel: Panoptic FPN's semantic branch.

    images → encoder → top-down path → each level up to 1/4 of the image's size by 3×3
             convolutions, each with a bilinear doubling, and their sum
           → 1×1 convolution → bilinear up-sampling

Kirillov et al. 2019, https://arxiv.org/abs/1901.02446, figure 3
"""

import flax.linen as nn

from jaxvision.layers.conv import Conv
from jaxvision.layers.feature_pyramid import top_down
from jaxvision.layers.norm import GroupNorm
from jaxvision.models import smp_names
from jaxvision.models.encoder import OnEncoder, check_sides
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.upsample import resize

STRIDES = (4, 8, 16, 32)


class FPN(OnEncoder):
    """Outputs: the encoder's maps of 1/4 … 1/32 of the image's size by their names,
    `p5`, `p4`, `p3` and `p2` of the top-down path, at 1/32 … 1/4 of its size, `merged`
    [B,H/4,W/4,segmentation_channels] and `logits` [B,H,W,num_classes], float32.

    Height and width are multiples of 32.
    """

    pyramid_channels: int = 256
    segmentation_channels: int = 128
    """A multiple of 32, the groups of the normalisation."""
    dropout: float = 0.2
    """The share of channels that training drops from the merged map."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, max(STRIDES), self)
        outputs = self._encode(images, STRIDES, train=train)
        init = nn.initializers.he_uniform()
        pyramid = top_down(
            list(outputs.values()),
            self.pyramid_channels,
            names=[
                *(f"decoder.p{i}.skip_conv" for i in (2, 3, 4)),
                "decoder.p5",
            ],
            dtype=self.dtype,
            kernel_init=init,
        )
        branches = []
        for i, p in enumerate(reversed(pyramid)):
            doublings = len(pyramid) - 1 - i
            outputs[f"p{doublings + 2}"] = x = p
            for j in range(max(doublings, 1)):
                name = f"decoder.seg_blocks.{i}.block.{j}.block"
                x = Conv(
                    self.segmentation_channels,
                    use_bias=False,
                    dtype=self.dtype,
                    kernel_init=init,
                    name=f"{name}.0",
                )(x)
                x = relu(GroupNorm(32, dtype=self.dtype, name=f"{name}.1")(x))
                if doublings:
                    height, width = x.shape[1:3]
                    x = resize(x, (2 * height, 2 * width), align_corners=True)
            branches.append(x)
        outputs["merged"] = x = sum(branches[1:], branches[0])
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return self._classify(
            outputs, x, images, align_corners=True, name="segmentation_head.0"
        )


PAPER = "Kirillov et al. 2019, https://arxiv.org/abs/1901.02446"

VARIANTS = {"fpn": Variant(FPN, PAPER, (512, 512, 3), smp_names.sources)}
