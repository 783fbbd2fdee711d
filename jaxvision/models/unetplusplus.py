"""U-Net++.  Zhou et al. 2018, https://arxiv.org/abs/1807.10165, figure 1

images → encoder → a U-Net from each of its maps, which share their steps: a step
         sees what it enlarges, the encoder's map of its size, and the results of
         all shallower steps of that size
       → once more up, to the image's own size → 3×3 convolution
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.models import smp_names
from jaxvision.models.encoder import OnEncoder, check_sides
from jaxvision.models.variant import Variant
from jaxvision.ops.upsample import upsample

STRIDES = (2, 4, 8, 16, 32)


class UNetPlusPlus(OnEncoder):
    """Outputs: the encoder's maps of 1/2 … 1/32 of the image's size by their names,
    `up16`, `up8`, `up4`, `up2` and `up1`, the way up from the deepest one, at 1/16 … 1
    of its size, and `logits` [B,H,W,num_classes], float32.

    Height and width are multiples of 32.
    """

    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16)

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, max(STRIDES), self)
        outputs = self._encode(images, STRIDES, train=train)
        conv_norm = partial(
            ConvNorm,
            norm=batch_norm(train=train, dtype=self.dtype),
            dtype=self.dtype,
            kernel_init=nn.initializers.he_uniform(),
        )

        def step(below, beside, channels, name):
            x = jnp.concatenate([upsample(below), *beside], axis=-1)
            x = conv_norm(channels, name=f"decoder.blocks.{name}.conv1")(x)
            return conv_norm(channels, name=f"decoder.blocks.{name}.conv2")(x)

        *channels, last = self.decoder_channels
        deepest, *maps = reversed(outputs.values())
        before = [deepest]
        # Of the steps to a size, that from the deepest map is the last one: it sees
        # the results of those that began at finer maps.
        for level, skip in enumerate(maps):
            results: list = []
            for start in reversed(range(len(before))):
                features = channels[level] if start == 0 else skip.shape[-1]
                name = f"x_{start}_{level}"
                results.insert(0, step(before[start], [*results, skip], features, name))
            outputs[f"up{STRIDES[-2 - level]}"] = results[0]
            before = [*results, skip]
        name = f"x_0_{len(maps)}"
        outputs["up1"] = x = step(before[0], [], last, name)
        return self._classify(
            outputs, x, images, kernel_size=3, name="segmentation_head.0"
        )


PAPER = "Zhou et al. 2018, https://arxiv.org/abs/1807.10165"

VARIANTS = {
    "unetplusplus": Variant(UNetPlusPlus, PAPER, (512, 512, 3), smp_names.sources)
}
