"""HRNet: heatmaps of keypoints, from maps that stay large.  Sun et al. 2019

https://arxiv.org/abs/1902.09212

    images → two 3×3 convolutions of stride 2 → four bottleneck blocks, at 1/4
           → stages of two, three and four branches, at 1/4, 1/8, 1/16 and 1/32 of the
             image's size: residual blocks in each, and then every branch becomes the
             sum of all of them, brought to its size
           → 1×1 convolution of the finest branch: a map for each keypoint

What heatmaps mean, and losses, is said by `tasks.heatmaps` and `tasks.soft_argmax`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import conv_norm, he_fan_out
from jaxvision.layers.norm import batch_norm
from jaxvision.models.encoder import check_sides
from jaxvision.models.resnet import BasicBlock, Bottleneck
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.upsample import upsample

Array = jax.Array

DEPTH = 4
"""Blocks of a branch in each module, and of the first stage."""


class Exchange(nn.Module):
    """Residual blocks in each branch, and then for the first of them the sum of all."""

    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    kept: int
    """Branches that there are sums for."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[Array]) -> list[Array]:
        maps = [self._branch(x, f"branches.{i}") for i, x in enumerate(maps)]
        return [self._sum(i, maps, f"fuse_layers.{i}") for i in range(self.kept)]

    def _branch(self, x: Array, name: str) -> Array:
        for i in range(DEPTH):
            x = BasicBlock(x.shape[-1], self.conv, self.norm, name=f"{name}.{i}")(x)
        return x

    def _sum(self, i: int, maps: Sequence[Array], name: str) -> Array:
        """Of all branches, at the size and with the channels of branch i."""
        layer = partial(conv_norm, norm=self.norm, dtype=self.dtype, activation=None)
        total: Any = 0
        for j, x in enumerate(maps):
            if j > i:
                names = (f"{name}.{j}.0", f"{name}.{j}.1")
                x = layer(x, maps[i].shape[-1], 1, names=names)
                for _ in range(j - i):
                    x = upsample(x)
            for step in range(i - j):
                end = step == i - j - 1
                x = layer(
                    x,
                    maps[i].shape[-1] if end else x.shape[-1],
                    strides=2,
                    names=(f"{name}.{j}.{step}.0", f"{name}.{j}.{step}.1"),
                    activation=None if end else relu,
                )
            total = x if j == 0 else total + x
        return relu(total)


class HRNet(nn.Module):
    """Outputs: `stem` at 1/4 of the image's size, `stage1` … `stage4`, the finest maps
    of the stages, also at 1/4, the coarser ones of the third as `stage3_8` and
    `stage3_16` by their stride, and `heatmaps` [B,H/4,W/4,num_classes], float32.

    Images whose sides are multiples of 32.
    """

    width: int = 32
    """Channels of the finest branch; each further one has twice as many."""
    num_classes: int = 17
    """Keypoints: as many as COCO has; 0: no heatmaps."""
    modules: Sequence[int] = (1, 4, 3)
    """Exchanges between the branches in the stages of two, three and four."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, 32, self)
        norm = batch_norm(train=train, dtype=self.dtype)
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_fan_out)
        layer = partial(conv_norm, norm=norm, dtype=self.dtype)

        x = layer(images, 64, strides=2, names=("conv1", "bn1"))
        x = layer(x, 64, strides=2, names=("conv2", "bn2"))
        outputs = {"stem": x}
        for block in range(DEPTH):
            x = Bottleneck(64, conv=conv, norm=norm, name=f"layer1.{block}")(x)
        outputs["stage1"] = x

        maps = [x]
        last = len(self.modules) - 1
        for stage, modules in enumerate(self.modules):
            maps = self._with_a_coarser(maps, layer, f"transition{stage + 1}")
            for module in range(modules):
                # Nobody asks for the coarser sums of the last one.
                end = stage == last and module == modules - 1
                maps = Exchange(
                    conv, norm, kept=1 if end else len(maps), dtype=self.dtype,
                    name=f"stage{stage + 2}.{module}",
                )(maps)  # fmt: skip
            outputs[f"stage{stage + 2}"] = maps[0]
            if stage == last - 1:
                for i, x in enumerate(maps[1:], 3):
                    outputs[f"stage{stage + 2}_{2**i}"] = x
        if not self.num_classes:
            return outputs
        x = Conv(
            self.num_classes,
            1,
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(0.001),
            name="final_layer",
        )(maps[0])
        return {**outputs, "heatmaps": x.astype(jnp.float32)}

    def _with_a_coarser(self, maps: Sequence[Array], layer, name: str) -> list[Array]:
        """The maps with the channels of their branches, and one at half the size of the
        coarsest."""
        widths = [self.width * 2**i for i in range(len(maps) + 1)]
        kept = [
            x
            if x.shape[-1] == features
            else layer(x, features, names=(f"{name}.{i}.0", f"{name}.{i}.1"))
            for i, (x, features) in enumerate(zip(maps, widths, strict=False))
        ]
        new = f"{name}.{len(maps)}.0"
        names = (f"{new}.0", f"{new}.1")
        return [*kept, layer(maps[-1], widths[-1], strides=2, names=names)]


PAPER = "Sun et al. 2019, https://arxiv.org/abs/1902.09212"

VARIANTS = {
    f"hrnet_w{width}": Variant(
        partial(HRNet, width=width), PAPER, (256, 192, 3), {"release": ()}
    )
    for width in (32, 48)
}
