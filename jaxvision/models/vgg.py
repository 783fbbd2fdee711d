"""VGG.  Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, table 1

    images → five stages of 3×3 convolutions, each followed by 2×2 max pooling
           → 4096 → 4096 → 1000

Configurations A, B, D and E have 11, 13, 16 and 19 layers with weights.  Names that end
in `_bn` have batch normalisation after each convolution, unlike in the paper.
"""

from collections.abc import Sequence
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
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(Conv, padding=1, dtype=self.dtype, kernel_init=he_fan_out)
        norm = batch_norm(train=train, dtype=self.dtype)
        # The published weights count activations and poolings as layers.
        outputs: dict[str, jax.Array] = {}
        x, layer = images, 0
        for stage, depth in enumerate(self.depths):
            for _ in range(depth):
                x = conv(FEATURES[stage], name=f"features.{layer}")(x)
                if self.normalise:
                    x = norm(name=f"features.{layer + 1}")(x)
                x = relu(x)
                layer += 3 if self.normalise else 2
            outputs[f"conv{stage + 1}"] = x
            outputs[f"stage{stage + 1}"] = x = max_pool(x, 2)
            layer += 1
        x = adaptive_avg_pool(x, 7)
        # Channels first, which is the order of the published weights.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        dense = partial(
            nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.normal(0.01)
        )
        dropped = nn.Dropout(self.dropout, deterministic=not train)
        x = dropped(relu(dense(4096, name="classifier.0")(x)))
        x = relu(dense(4096, name="classifier.3")(x))
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
    for layers, depths in (
        (11, (1, 1, 2, 2, 2)),
        (13, (2, 2, 2, 2, 2)),
        (16, (2, 2, 3, 3, 3)),
        (19, (2, 2, 4, 4, 4)),
    )
}
