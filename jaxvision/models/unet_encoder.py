"""U-Net on any encoder, as segmentation_models_pytorch draws it.

    images → encoder → back up in five steps, each of two 3×3 convolutions beside the
             encoder's map of that size, the last one at the image's own size
           → 3×3 convolution: scores of every pixel

Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.models import smp_names
from jaxvision.models.encoder import OnEncoder
from jaxvision.models.variant import Variant
from jaxvision.ops.upsample import upsample

STRIDES = (2, 4, 8, 16, 32)


class EncoderUNet(OnEncoder):
    """Outputs: the encoder's maps of 1/2 … 1/32 of the image's size by their names,
    `up16`, `up8`, `up4`, `up2` and `up1` on the way back, at 1/16 … 1 of its size, and
    `logits` [B,H,W,num_classes], float32.

    Any image size.
    """

    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16)

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = self._encode(images, STRIDES, train=train)
        conv_norm = partial(
            ConvNorm,
            norm=batch_norm(train=train, dtype=self.dtype),
            dtype=self.dtype,
            kernel_init=nn.initializers.he_uniform(),
        )
        *skips, x = outputs.values()
        sizes = [images.shape[1:3], *(skip.shape[1:3] for skip in skips)]
        strides = (*reversed(STRIDES[:-1]), 1)
        for i, (channels, stride) in enumerate(
            zip(self.decoder_channels, strides, strict=True)
        ):
            height, width = sizes.pop()
            x = upsample(x)[:, :height, :width]
            x = jnp.concatenate([x, *skips[-1:]], axis=-1)
            del skips[-1:]
            for name in ("conv1", "conv2"):
                x = conv_norm(channels, name=f"decoder.blocks.{i}.{name}")(x)
            outputs[f"up{stride}"] = x
        return self._classify(
            outputs, x, images, kernel_size=3, name="segmentation_head.0"
        )


PAPER = "Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597"

VARIANTS = {"unet": Variant(EncoderUNet, PAPER, (512, 512, 3), smp_names.sources)}
