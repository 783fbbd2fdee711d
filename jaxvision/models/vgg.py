"""VGG.  Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, table 1

    images → five stages of 3×3 convolutions, each followed by 2×2 max pooling
           → 4096 → 4096 → 1000

Configurations A, B, D and E have 11, 13, 16 and 19 layers with weights.  Names that end
in `_bn` have batch normalisation after each convolution, unlike in the paper.  What is
before the dense layers, `trunk`, is also that of FCN and SegNet.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import adaptive_avg_pool, max_pool

PAPER = "Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556"

FEATURES = (64, 128, 256, 512, 512)

DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions in each stage, by the layers with weights."""

halve = partial(max_pool, window=2)


def trunk(
    images: jax.Array,
    depths: Sequence[int],
    features: Sequence[int] = FEATURES,
    *,
    train: bool,
    normalise: bool = False,
    pool: Callable[[jax.Array], jax.Array] = halve,
    dtype: Any = jnp.float32,
) -> dict[str, jax.Array]:
    """`conv1` … `conv5` (before each pooling) and `stage1` … `stage5` (after it).

    The layers, `features.0` and so on, belong to the module that calls it.

    Args:
      depths: convolutions in each stage.
      features: channels of each stage.
      normalise: whether batch normalisation follows each convolution.
      pool: what ends a stage, with strides of 2.
    """
    conv = partial(Conv, padding=1, dtype=dtype, kernel_init=he_fan_out)
    norm = batch_norm(train=train, dtype=dtype)
    # The published weights count activations and poolings as layers.
    outputs: dict[str, jax.Array] = {}
    x, layer = images, 0
    for stage, (depth, width) in enumerate(zip(depths, features, strict=True), 1):
        for _ in range(depth):
            x = conv(width, name=f"features.{layer}")(x)
            if normalise:
                x = norm(name=f"features.{layer + 1}")(x)
            x = relu(x)
            layer += 3 if normalise else 2
        outputs[f"conv{stage}"] = x
        outputs[f"stage{stage}"] = x = pool(x)
        layer += 1
    return outputs


class VGG(nn.Module):
    """Outputs: `conv1` … `conv5` (before each pooling), `stage1` … `stage5` (after it),
    `pre_logits`, `logits`.

    Any image of at least 32×32 pixels: the last map is averaged to 7×7.
    """

    depths: Sequence[int]
    """Convolutions in each stage."""
    num_classes: int = 1000
    normalise: bool = False
    dropout: float = 0.5
    ceil_mode: bool = False
    """Whether poolings keep a last row and column that fill no window, so that a map
    has a place for all pixels of any image, as SSD wants."""
    features: Sequence[int] = FEATURES
    """Channels of each stage."""
    hidden: int = 4096
    """Units of the two dense layers before the last."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = trunk(
            images,
            self.depths,
            self.features,
            train=train,
            normalise=self.normalise,
            pool=partial(halve, ceil_mode=self.ceil_mode),
            dtype=self.dtype,
        )
        x = adaptive_avg_pool(outputs["stage5"], 7)
        # Channels first, which is the order of the published weights.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        dense = partial(
            nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.normal(0.01)
        )
        dropped = nn.Dropout(self.dropout, deterministic=not train)
        x = dropped(relu(dense(self.hidden, name="classifier.0")(x)))
        x = relu(dense(self.hidden, name="classifier.3")(x))
        return classify(
            outputs,
            x,
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier.6",
        )


_TIMM = (
    (r"^classifier\.0", "pre_logits.fc1"),
    (r"^classifier\.3", "pre_logits.fc2"),
    (r"^classifier\.6", "head.fc"),
)

VARIANTS = {
    f"vgg{layers}{suffix}": Variant(
        partial(VGG, depths, normalise=bool(suffix)),
        PAPER,
        sources={"torchvision": (), "timm": _TIMM},
    )
    for suffix in ("", "_bn")
    for layers, depths in DEPTHS.items()
}
