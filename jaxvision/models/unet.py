"""U-Net: a class for every pixel.  Ronneberger et al. 2015,
https://arxiv.org/abs/1505.04597

    images → levels of two 3×3 convolutions, each at half the size of the one before
           → back up, each level beside the one of its size on the way down
           → 1×1 convolution: scores of every pixel

`unet_ronneberger` is figure 1: convolutions see no padding, so that 572×572 pixels give
388×388 scores, and levels on the way down are cropped before they stand beside others.
`ops.overlap_tile` computes an image of any size by it, tile by tile; with
`padding="mirror"` the network does so at once.  `unet_small` pads with zeros, has batch
normalisation, a quarter of the channels and a level less.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import check, unknown
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.up_conv import UpConv
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import max_pool

PADDINGS = ("same", "valid", "mirror")


class UNet(nn.Module):
    """Outputs: `down1` … `down<depth>` on the way down, `up<depth - 1>` … `up1` on the
    way back, and `logits` [B,H,W,num_classes], float32.

    With u = 2^(depth - 1), `padding` is one of

      same: maps keep their size by zeros.  Height and width are multiples of u.
      valid: there is no padding: `logits` are [B,H-2m,W-2m,num_classes], where m is
        6·u - 4, 92 pixels for five levels.  Height and width are 4 less than multiples
        of u, and more than 2m, which makes every pooled map even.
      mirror: images of any size, continued by their mirror image as far as `valid`
        sees, and all of their scores.
    """

    num_classes: int = 10
    width: int = 16
    """Channels of the first level; each further one has twice as many."""
    depth: int = 4
    """Levels, that of the image's own size included."""
    padding: Literal["same", "valid", "mirror"] = "same"
    normalise: bool = True
    """Batch normalisation after each convolution, instead of a bias."""
    dropout: float = 0.0
    """Rate at the end of the two deepest levels on the way down."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        size = images.shape[1:3]
        x = self._padded(images)
        norm = batch_norm(train=train, dtype=self.dtype)
        around = 1 if self.padding == "same" else 0
        conv = partial(Conv, padding=around, dtype=self.dtype)
        conv_norm = partial(ConvNorm, padding=around, norm=norm, dtype=self.dtype)

        def convolved(x, features, name):
            if self.normalise:
                return conv_norm(features, name=name)(x)
            return relu(conv(features, name=name)(x))

        def twice(x, level, name):
            features = self.width * 2**level
            x = convolved(x, features, f"{name}.0")
            return convolved(x, features, f"{name}.1")

        dropped = nn.Dropout(self.dropout, deterministic=not train)
        outputs: dict[str, jax.Array] = {}
        x = x.astype(self.dtype)
        for level in range(self.depth):
            x = max_pool(x, 2, 2) if level > 0 else x
            x = twice(x, level, f"down{level + 1}")
            x = dropped(x) if level >= self.depth - 2 else x
            outputs[f"down{level + 1}"] = x
        for level in reversed(range(self.depth - 1)):
            up = UpConv(
                self.width * 2**level, dtype=self.dtype, name=f"up{level + 1}.conv"
            )
            x = up(x)
            beside = _centre(outputs[f"down{level + 1}"], x.shape[1:3])
            x = jnp.concatenate([beside, x], axis=-1)
            x = outputs[f"up{level + 1}"] = twice(x, level, f"up{level + 1}")
        scores = Conv(self.num_classes, 1, dtype=self.dtype, name="scores")(x)
        if self.padding == "mirror":
            scores = scores[:, : size[0], : size[1]]
        return {**outputs, "logits": scores.astype(jnp.float32)}

    def _padded(self, images):
        """The images as the first convolution takes them.  Raises `UsageError`."""
        height, width = images.shape[1:3]
        unit = 2 ** (self.depth - 1)
        margin = 6 * unit - 4
        # The smallest of which something is left, and larger ones by whole units.
        least = 2 * margin + 1 + -(2 * margin + 5) % unit
        got = f"got {height}×{width}"
        if self.padding == "same":
            check(
                (
                    height % unit == width % unit == 0,
                    f"a U-Net of depth {self.depth} wants images whose sides are "
                    f"multiples of {unit}, {got}: crop, pad or resize them",
                )
            )
        elif self.padding == "valid":
            check(
                (
                    (height + 4) % unit == (width + 4) % unit == 0
                    and min(height, width) >= least,
                    f"a U-Net of depth {self.depth} without padding wants images whose "
                    f"sides are {least}, {least + unit}, {least + 2 * unit} and so on, "
                    f"{got}: give padding='mirror', or compute tiles by "
                    "ops.overlap_tile",
                )
            )
        elif self.padding == "mirror":
            edges = [
                (margin, -(n + 2 * margin + 4) % unit + margin) for n in (height, width)
            ]
            images = jnp.pad(images, ((0, 0), *edges, (0, 0)), mode="reflect")
        else:
            raise unknown("padding of a U-Net", self.padding, PADDINGS)
        return images


def _centre(maps: jax.Array, size: Sequence[int]) -> jax.Array:
    """The pixels in the middle of the maps [B,H,W,C]."""
    rows, columns = (
        slice((have - want) // 2, (have - want) // 2 + want)
        for have, want in zip(maps.shape[1:3], size, strict=True)
    )
    return maps[:, rows, columns]


PAPER = "Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597"

VARIANTS = {
    "unet_small": Variant(UNet, PAPER, (64, 64, 3), OURS),
    "unet_ronneberger": Variant(
        partial(
            UNet,
            num_classes=2,
            width=64,
            depth=5,
            padding="valid",
            normalise=False,
            dropout=0.5,
        ),
        PAPER,
        (572, 572, 1),
        OURS,
    ),
}
