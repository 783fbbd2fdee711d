"""SqueezeNet.  Iandola et al. 2016, https://arxiv.org/abs/1602.07360, table 1

    images → convolution, stride 2 → eight fire modules, three poolings between
           → 1×1 convolution to classes → average

A fire module squeezes to few channels by 1×1, and expands by 1×1 beside 3×3.  Version
1.1 (https://github.com/forresti/SqueezeNet) pools earlier: 2.4 times less to compute.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool, max_pool

PAPER = "Iandola et al. 2016, https://arxiv.org/abs/1602.07360"


class Fire(nn.Module):
    """Squeeze to `features` / 8 channels or so, expand to `features` twice."""

    squeeze: int
    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        conv = partial(Conv, dtype=self.dtype)
        x = relu(conv(self.squeeze, 1, name="squeeze")(x))
        one = conv(self.features, 1, name="expand1x1")(x)
        three = conv(self.features, 3, padding=1, name="expand3x3")(x)
        return relu(jnp.concatenate([one, three], -1))


class SqueezeNet(nn.Module):
    """Outputs: `stage1` … `stage4` (before each pooling and the end), `pre_logits`
    [B,512], `logits`.

    Any image of at least 21×21 pixels (17×17 for 1.1).  Since the scores are rectified
    before they are averaged, as in the paper, `logits` are not negative.
    """

    stem: tuple[int, int]
    """Channels and kernel size of the first convolution."""
    layers: Sequence[tuple[int, int] | None]
    """Squeeze and expand channels of each fire module; None pools."""
    num_classes: int = 1000
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        features, size = self.stem
        conv = partial(Conv, dtype=self.dtype, padding="VALID")
        x = relu(conv(features, size, strides=2, name="features.0")(images))
        outputs: dict[str, jax.Array] = {}
        # The published weights count the stem, its activation and poolings as layers.
        for layer, fire in enumerate(self.layers, 2):
            if fire is None:
                outputs[f"stage{len(outputs) + 1}"] = x
                x = max_pool(x, 3, 2, ceil_mode=True)
            else:
                x = Fire(*fire, self.dtype, name=f"features.{layer}")(x)
        outputs[f"stage{len(outputs) + 1}"] = x
        outputs["pre_logits"] = global_avg_pool(x)
        if self.num_classes:
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            scores = conv(
                self.num_classes,
                1,
                kernel_init=nn.initializers.normal(0.01),
                name="classifier.1",
            )(x)
            outputs["logits"] = global_avg_pool(relu(scores).astype(jnp.float32))
        return outputs


_FIRES = [
    (16, 64), (16, 64), (32, 128), (32, 128),
    (48, 192), (48, 192), (64, 256), (64, 256),
]  # fmt: skip

VARIANTS = {
    "squeezenet1_0": Variant(
        partial(
            SqueezeNet,
            stem=(96, 7),
            layers=(None, *_FIRES[:3], None, *_FIRES[3:7], None, *_FIRES[7:]),
        ),
        PAPER,
    ),
    "squeezenet1_1": Variant(
        partial(
            SqueezeNet,
            stem=(64, 3),
            layers=(None, *_FIRES[:2], None, *_FIRES[2:4], None, *_FIRES[4:]),
        ),
        PAPER,
    ),
}
