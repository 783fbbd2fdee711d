"""DenseNet-BC.  Huang et al. 2017, https://arxiv.org/abs/1608.06993, table 1

    images → 7×7 convolution, stride 2 → 3×3 max pooling, stride 2
           → dense blocks, between them 1×1 convolutions to half the channels and
             2×2 average pooling → global average pooling → linear layer

Each layer of a dense block sees the concatenated outputs of all layers before it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import avg_pool, global_avg_pool, max_pool

PAPER = "Huang et al. 2017, https://arxiv.org/abs/1608.06993"


class DenseLayer(nn.Module):
    """Appends `growth` channels to its input."""

    growth: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    dropout: float
    deterministic: bool

    @nn.compact
    def __call__(self, x):
        y = relu(self.norm(name="norm1")(x))
        y = self.conv(4 * self.growth, kernel_size=1, name="conv1")(y)
        y = relu(self.norm(name="norm2")(y))
        y = self.conv(self.growth, padding=1, name="conv2")(y)
        y = nn.Dropout(self.dropout, deterministic=self.deterministic)(y)
        return jnp.concatenate([x, y], -1)


class DenseNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4` (dense blocks), `pre_logits`, `logits`.

    Any image of at least 29×29 pixels.
    """

    depths: Sequence[int]
    """Number of layers in each dense block."""
    growth: int = 32
    """Channels that each layer adds: k in the paper."""
    num_classes: int = 1000
    dropout: float = 0.0
    """After each layer; the paper uses 0.2 on small sets without augmentation."""
    remat: bool = False
    """Whether training computes the inside of layers twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(Conv, use_bias=False, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype)
        layer = partial(
            nn.remat(DenseLayer) if self.remat else DenseLayer,
            self.growth,
            conv,
            norm,
            self.dropout,
            not train,
        )
        x = conv(2 * self.growth, 7, 2, padding=3, name="features.conv0")(images)
        x = relu(norm(name="features.norm0")(x))
        outputs = {"stem": x}
        x = max_pool(x, 3, 2, padding=1)
        for stage, depth in enumerate(self.depths, 1):
            for i in range(1, depth + 1):
                x = layer(name=f"features.denseblock{stage}.denselayer{i}")(x)
            outputs[f"stage{stage}"] = x
            if stage < len(self.depths):
                transition = f"features.transition{stage}"
                x = relu(norm(name=f"{transition}.norm")(x))
                x = conv(x.shape[-1] // 2, 1, name=f"{transition}.conv")(x)
                x = avg_pool(x, 2)
        x = relu(norm(name="features.norm5")(x))
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier",
        )


VARIANTS = {
    name: Variant(
        partial(DenseNet, depths=depths, growth=growth),
        PAPER,
        # The files of 2017 have a dot that torchvision removes when it reads them.
        sources={
            "torchvision": (),
            "torchvision_2017": ((r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2"),),
        },
    )
    for name, depths, growth in (
        ("densenet121", (6, 12, 24, 16), 32),
        ("densenet161", (6, 12, 36, 24), 48),
        ("densenet169", (6, 12, 32, 32), 32),
        ("densenet201", (6, 12, 48, 32), 32),
    )
}
