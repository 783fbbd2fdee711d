"""DeepLabv3+.  Chen et al. 2018, https://arxiv.org/abs/1802.02611, figure 2

images → encoder with dilations in the place of its last strides
       → atrous spatial pyramid pooling, up to 1/4 of the image's size
       → beside the encoder's map of that size, with 48 channels
       → separable 3×3 convolution → 1×1 convolution → bilinear up-sampling
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.aspp import ASPP
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.separable_conv import SeparableConv, SeparableConvNorm
from jaxvision.models import smp_names
from jaxvision.models.encoder import OnEncoder, check_sides, has_option
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.upsample import resize


class DeepLabV3Plus(OnEncoder):
    """Outputs: the encoder's maps of 1/4 and 1/s of the image's size by their names,
    `aspp` [B,H/s,W/s,decoder_channels], `fused` [B,H/4,W/4,decoder_channels] and
    `logits` [B,H,W,num_classes], float32.

    Height and width are multiples of s.  As in segmentation_models_pytorch the encoder
    has `early_dilation`, if it has that option.
    """

    output_stride: int = 16
    """s, of the encoder's last map: 8, 16 or 32."""
    rates: Sequence[int] = (12, 24, 36)
    """Dilations of the pyramid."""
    decoder_channels: int = 256
    dropout: float = 0.5
    """The share of values that training drops after the pyramid."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, self.output_stride, self)
        options = {"output_stride": self.output_stride}
        if has_option(self.encoder, "early_dilation"):
            options["early_dilation"] = True
        outputs = self._encode(images, (4, self.output_stride), train=train, **options)
        fine, x = outputs.values()
        channels, dtype = self.decoder_channels, self.dtype
        norm = batch_norm(train=train, dtype=dtype)
        x = ASPP(
            norm,
            train,
            channels,
            self.rates,
            separable=True,
            dropout=self.dropout,
            dtype=dtype,
            name="decoder.aspp.0",
        )(x)
        x = SeparableConv(channels, dtype=dtype, name="decoder.aspp.1")(x)
        outputs["aspp"] = x = relu(norm(name="decoder.aspp.2")(x))
        x = resize(x, fine.shape[1:3], align_corners=True)
        fine = ConvNorm(48, 1, norm=norm, dtype=dtype, name="decoder.block1")(fine)
        fuse = SeparableConvNorm(channels, norm, dtype=dtype, name="decoder.block2")
        outputs["fused"] = x = fuse(jnp.concatenate([x, fine], axis=-1))
        return self._classify(
            outputs, x, images, align_corners=True, name="segmentation_head.0"
        )


PAPER = "Chen et al. 2018, https://arxiv.org/abs/1802.02611"

VARIANTS = {
    "deeplabv3plus": Variant(DeepLabV3Plus, PAPER, (512, 512, 3), smp_names.sources)
}
