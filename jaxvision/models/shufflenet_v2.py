"""ShuffleNet v2.  Ma et al. 2018, https://arxiv.org/abs/1807.11164, table 5

    images → 3×3 convolution, stride 2 → 3×3 max pooling, stride 2
           → three stages of units → 1×1 convolution → average → linear layer

A unit passes half of the channels through, and shuffles them with the others.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool, max_pool

PAPER = "Ma et al. 2018, https://arxiv.org/abs/1807.11164"

DEPTHS = (4, 8, 4)
"""Units in each stage."""


class Unit(nn.Module):
    """Figure 3 (c), and with strides figure 3 (d)."""

    features: int
    strides: int
    conv_bn: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, x):
        conv_bn, half = self.conv_bn, self.features // 2
        if self.strides == 1:
            left, x = jnp.split(x, 2, -1)
        else:
            left = conv_bn(
                x,
                x.shape[-1],
                strides=self.strides,
                groups=x.shape[-1],
                activation=None,
                names=("branch1.0", "branch1.1"),
            )
            left = conv_bn(left, half, 1, names=("branch1.2", "branch1.3"))
        right = conv_bn(x, half, 1, names=("branch2.0", "branch2.1"))
        right = conv_bn(
            right,
            half,
            strides=self.strides,
            groups=half,
            activation=None,
            names=("branch2.3", "branch2.4"),
        )
        right = conv_bn(right, half, 1, names=("branch2.5", "branch2.6"))
        # Channels of both sides alternate.
        return jnp.stack([left, right], -1).reshape(*left.shape[:-1], -1)


class ShuffleNetV2(nn.Module):
    """Outputs: `stage1` (the stem), `pool` (after its pooling), `stage2` … `stage4`,
    `pre_logits`, `logits`.

    Any image size.
    """

    features: Sequence[int]
    """Channels of the three stages and of the last convolution."""
    num_classes: int = 1000
    remat: bool = False
    """Whether training computes the inside of units twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_bn = partial(conv_norm, norm=norm, dtype=self.dtype)
        make_unit = nn.remat(Unit) if self.remat else Unit

        x = conv_bn(images, 24, strides=2, names=("conv1.0", "conv1.1"))
        outputs = {"stage1": x}
        outputs["pool"] = x = max_pool(x, 3, 2, padding=1)
        *stages, last = self.features
        for stage, (features, depth) in enumerate(zip(stages, DEPTHS, strict=True), 2):
            for unit in range(depth):
                x = make_unit(
                    features,
                    2 if unit == 0 else 1,
                    conv_bn,
                    name=f"stage{stage}.{unit}",
                )(x)
            outputs[f"stage{stage}"] = x
        x = conv_bn(x, last, 1, names=("conv5.0", "conv5.1"))
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="fc",
        )


VARIANTS = {
    f"shufflenet_v2_{width}": Variant(partial(ShuffleNetV2, features), PAPER)
    for width, features in (
        ("x0_5", (48, 96, 192, 1024)),
        ("x1_0", (116, 232, 464, 1024)),
        ("x1_5", (176, 352, 704, 1024)),
        ("x2_0", (244, 488, 976, 2048)),
    )
}
