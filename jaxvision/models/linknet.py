"""LinkNet.  Chaurasia and Culurciello 2017, https://arxiv.org/abs/1707.03718

images → encoder → back up in five steps, each of a 1×1 convolution to a quarter of
         the channels, a transposed convolution and a 1×1 convolution, plus the
         encoder's map of that size
       → 1×1 convolution: scores of every pixel
"""

from functools import partial

import flax.linen as nn

from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.up_conv import ConvTranspose
from jaxvision.models import smp_names
from jaxvision.models.encoder import OnEncoder, check_sides
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu

STRIDES = (2, 4, 8, 16, 32)


class LinkNet(OnEncoder):
    """Outputs: the encoder's maps of 1/2 … 1/32 of the image's size by their names,
    `up16`, `up8`, `up4`, `up2` and `up1` on the way back, at 1/16 … 1 of its size, and
    `logits` [B,H,W,num_classes], float32.

    Height and width are multiples of 32.
    """

    last_channels: int = 32
    """Of `up1`."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, max(STRIDES), self)
        outputs = self._encode(images, STRIDES, train=train)
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_norm = partial(
            ConvNorm,
            kernel_size=1,
            norm=norm,
            dtype=self.dtype,
            kernel_init=nn.initializers.he_uniform(),
        )
        *skips, x = outputs.values()
        for i, stride in enumerate((*reversed(STRIDES[:-1]), 1)):
            skip = skips.pop() if skips else None
            channels = self.last_channels if skip is None else skip.shape[-1]
            narrow, name = x.shape[-1] // 4, f"decoder.blocks.{i}.block"
            x = conv_norm(narrow, name=f"{name}.0")(x)
            x = ConvTranspose(narrow, dtype=self.dtype, name=f"{name}.1.0")(x)
            x = relu(norm(name=f"{name}.1.1")(x))
            x = conv_norm(channels, name=f"{name}.2")(x)
            outputs[f"up{stride}"] = x = x if skip is None else x + skip
        return self._classify(outputs, x, images, name="segmentation_head.0")


PAPER = "Chaurasia and Culurciello 2017, https://arxiv.org/abs/1707.03718"

VARIANTS = {"linknet": Variant(LinkNet, PAPER, (512, 512, 3), smp_names.sources)}
