"""ConvNeXt.  Liu et al. 2022, https://arxiv.org/abs/2201.03545, section 2

    images → patches of 4×4 by a convolution → four stages of blocks, between them 2×2
             convolutions with stride 2 → average → layer norm → linear layer

A block filters each channel by 7×7, and then applies a perceptron to each position, as
in a transformer.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import LayerNorm
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Liu et al. 2022, https://arxiv.org/abs/2201.03545"

init = nn.initializers.truncated_normal(0.02)


class Block(nn.Module):
    """Depthwise 7×7, layer norm, a perceptron of four times the width; a shortcut."""

    drop_path: nn.Module
    layer_scale: float
    dtype: Any

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=init)
        y = Conv(
            features,
            7,
            padding=3,
            groups=features,
            dtype=self.dtype,
            kernel_init=init,
            name="block.0",
        )(x)
        y = LayerNorm(epsilon=1e-6, dtype=self.dtype, name="block.2")(y)
        y = dense(4 * features, name="block.3")(y)
        y = dense(features, name="block.5")(jax.nn.gelu(y, approximate=False))
        # [C,1,1], as published weights have it.
        scale = self.param(
            "layer_scale", nn.initializers.constant(self.layer_scale), (features, 1, 1)
        )
        scale = scale.reshape(1, 1, 1, -1).astype(self.dtype)
        return x + self.drop_path(y * scale)


class ConvNeXt(nn.Module):
    """Outputs: `stage1` … `stage4`, `pre_logits`, `logits`.

    Images of at least 32×32 pixels.
    """

    depths: Sequence[int]
    """Blocks in each stage."""
    features: Sequence[int]
    """Channels of each stage."""
    num_classes: int = 1000
    stochastic_depth: float = 0.1
    """The rate at the last block, to which it grows from 0."""
    layer_scale: float = 1e-6
    """Initial value of the learned scales of the branches."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    no_weight_decay = ("layer_scale",)

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = partial(LayerNorm, epsilon=1e-6, dtype=self.dtype)
        patches = partial(Conv, padding="VALID", dtype=self.dtype, kernel_init=init)
        make_block = nn.remat(Block) if self.remat else Block

        outputs: dict[str, jax.Array] = {}
        x = images
        blocks, total = 0, sum(self.depths)
        for stage, (depth, features) in enumerate(
            zip(self.depths, self.features, strict=True)
        ):
            # In the published names the stem and the downsampling are layers, too.
            before, here = f"features.{2 * stage}", f"features.{2 * stage + 1}"
            if stage == 0:
                x = patches(features, 4, strides=4, name=f"{before}.0")(x)
                x = norm(name=f"{before}.1")(x)
            else:
                x = norm(name=f"{before}.0")(x)
                x = patches(features, 2, strides=2, name=f"{before}.1")(x)
            for block in range(depth):
                rate = self.stochastic_depth * blocks / (total - 1)
                x = make_block(
                    StochasticDepth(rate, deterministic=not train),
                    self.layer_scale,
                    self.dtype,
                    name=f"{here}.{block}",
                )(x)
                blocks += 1
            outputs[f"stage{stage + 1}"] = x
        return classify(
            outputs,
            norm(name="classifier.0")(global_avg_pool(x)),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier.2",
            kernel_init=init,
        )


_TIMM = (
    (r"^features\.0\.", "stem."),
    (r"^features\.([246])\.", lambda m: f"stages.{int(m[1]) // 2}.downsample."),
    (r"^features\.([1357])\.", lambda m: f"stages.{int(m[1]) // 2}.blocks."),
    (r"block\.0", "conv_dw"),
    (r"block\.2", "norm"),
    (r"block\.3", "mlp.fc1"),
    (r"block\.5", "mlp.fc2"),
    (r"layer_scale", "gamma"),
    (r"^classifier\.0", "head.norm"),
    (r"^classifier\.2", "head.fc"),
)

VARIANTS = {
    f"convnext_{size}": Variant(
        partial(
            ConvNeXt, depths=depths, features=features, stochastic_depth=stochastic
        ),
        PAPER,
        sources={"torchvision": (), "timm": _TIMM},
    )
    for size, depths, features, stochastic in (
        ("tiny", (3, 3, 9, 3), (96, 192, 384, 768), 0.1),
        ("small", (3, 3, 27, 3), (96, 192, 384, 768), 0.4),
        ("base", (3, 3, 27, 3), (128, 256, 512, 1024), 0.5),
        ("large", (3, 3, 27, 3), (192, 384, 768, 1536), 0.5),
    )
}
