"""RegNet.  Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678

    images → 3×3 convolution, stride 2 → stages of residual bottlenecks with grouped
             convolutions, each at half the size → average → linear layer

The widths of all blocks follow from three numbers: a line over the blocks, rounded to
powers of a factor (section 3.3, equations 2 to 4).  RegNetY has squeeze and excitation,
RegNetX does not.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678"


class Bottleneck(nn.Module):
    """1×1, grouped 3×3 and 1×1 convolutions of the same width, beside a shortcut."""

    features: int
    strides: int
    group_width: int
    squeeze: bool
    conv_norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        conv_norm, features, strides = self.conv_norm, self.features, self.strides
        y = conv_norm(features, 1, name="f.a")(x)
        groups = features // self.group_width
        y = conv_norm(features, 3, strides=strides, groups=groups, name="f.b")(y)
        if self.squeeze:
            # A quarter of the channels that enter the block.
            hidden = round(x.shape[-1] / 4)
            y = SqueezeExcite(hidden, name="f.se")(y)
        y = conv_norm(features, 1, activation=None, name="f.c")(y)
        if x.shape != y.shape:
            x = conv_norm(features, 1, strides=strides, activation=None, name="proj")(x)
        return relu(x + y)


class RegNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4`, `pre_logits`, `logits`.

    Any image size.
    """

    depth: int
    """Number of blocks in all stages together."""
    initial_width: int
    slope: float
    factor: float
    """w_0, w_a and w_m of the paper."""
    group_width: int
    squeeze: bool
    num_classes: int = 1000
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_norm = partial(ConvNorm, norm=norm, dtype=self.dtype)
        make_block = nn.remat(Bottleneck) if self.remat else Bottleneck

        x = conv_norm(32, strides=2, name="stem")(images)
        outputs = {"stem": x}
        for stage, (width, depth) in enumerate(self.stages(), 1):
            group_width = min(self.group_width, width)
            for block in range(depth):
                x = make_block(
                    round_channels(width, group_width),
                    2 if block == 0 else 1,
                    group_width,
                    self.squeeze,
                    conv_norm,
                    name=f"trunk_output.block{stage}.block{stage}-{block}",
                )(x)
            outputs[f"stage{stage}"] = x
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="fc",
            kernel_init=nn.initializers.normal(0.01),
        )

    def stages(self) -> list[tuple[int, int]]:
        """Width and number of blocks of each stage."""
        widths = []
        for block in range(self.depth):
            width = self.initial_width + self.slope * block
            power = round(math.log(width / self.initial_width) / math.log(self.factor))
            widths.append(round(self.initial_width * self.factor**power / 8) * 8)
        return [(width, len(list(blocks))) for width, blocks in groupby(widths)]


_TIMM = (
    (r"^stem\.0", "stem.conv"),
    (r"^stem\.1", "stem.bn"),
    (
        r"^trunk_output\.block\d\.block(\d)-(\d+)",
        lambda match: f"s{match[1]}.b{int(match[2]) + 1}",
    ),
    (r"\.f\.se", ".se"),
    (r"\.f\.a\.", ".conv1."),
    (r"\.f\.b\.", ".conv2."),
    (r"\.f\.c\.", ".conv3."),
    (r"\.proj\.", ".downsample."),
    (r"^(s\d.*)\.0\.", r"\1.conv."),
    (r"^(s\d.*)\.1\.", r"\1.bn."),
    (r"^fc\.", "head.fc."),
)

_ROUNDED = ("regnetx_004", "regnety_008", "regnety_080")
"""Names in timm of networks with other widths than torchvision's; timm has those of
torchvision, too, with `_tv` at the end of the name."""


def _timm_name(kind: str, size: str) -> str:
    """In units of 100 million multiply-adds: `regnety_016` for 1_6gf."""
    number = float(size.removesuffix("mf").removesuffix("gf").replace("_", "."))
    name = f"regnet{kind}_{round(number / 100 if 'mf' in size else number * 10):03}"
    return name + "_tv" * (name in _ROUNDED)


VARIANTS = {
    f"regnet_{kind}_{size}": Variant(
        partial(
            RegNet,
            depth=depth,
            initial_width=w_0,
            slope=w_a,
            factor=w_m,
            group_width=group_width,
            squeeze=kind == "y",
        ),
        PAPER,
        sources={"torchvision": (), "timm": _TIMM},
        timm=_timm_name(kind, size),
    )
    for kind, size, depth, w_0, w_a, w_m, group_width in (
        ("x", "400mf", 22, 24, 24.48, 2.54, 16),
        ("x", "800mf", 16, 56, 35.73, 2.28, 16),
        ("x", "1_6gf", 18, 80, 34.01, 2.25, 24),
        ("x", "3_2gf", 25, 88, 26.31, 2.25, 48),
        ("x", "8gf", 23, 80, 49.56, 2.88, 120),
        ("x", "16gf", 22, 216, 55.59, 2.1, 128),
        ("x", "32gf", 23, 320, 69.86, 2.0, 168),
        ("y", "400mf", 16, 48, 27.89, 2.09, 8),
        ("y", "800mf", 14, 56, 38.84, 2.4, 16),
        ("y", "1_6gf", 27, 48, 20.71, 2.65, 24),
        ("y", "3_2gf", 21, 80, 42.63, 2.66, 24),
        ("y", "8gf", 17, 192, 76.82, 2.19, 56),
        ("y", "16gf", 18, 200, 106.23, 2.48, 112),
        ("y", "32gf", 20, 232, 115.89, 2.53, 232),
        ("y", "128gf", 27, 456, 160.83, 2.52, 264),
    )
}
