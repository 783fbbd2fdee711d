"""The common pattern of convolutional networks, described by three numbers:

INPUT → [[CONV → RELU]·N → POOL?]·M → [FC → RELU]·K → FC
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.layers.conv import Conv
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import max_pool


class ConvNet(nn.Module):
    """N convolutions a block, M blocks, K hidden fully connected layers.

    `features` gives the channels of each block and so must have M entries; None
    doubles them from 32.  `pool` halves the map after each block, `dropout` is the
    rate before each fully connected layer.  With N = M = 0 and K = 0 this is a
    perceptron.  Outputs: `block1` … `blockM`, `pre_logits` [B,D], `logits`.
    """

    num_classes: int = 10
    n: int = 1
    m: int = 2
    k: int = 1
    features: Sequence[int] | None = None
    hidden: int = 128
    kernel_size: int = 3
    pool: bool = True
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        features = self.features
        if features is None:
            features = [32 * 2**i for i in range(self.m)]
        smallest = min(images.shape[1:3])
        check(
            (self.n >= 0 and self.m >= 0 and self.k >= 0,
             f"N, M and K must not be negative, got {self.n}, {self.m}, {self.k}"),
            (len(features) == self.m,
             f"features {tuple(features)} must have one entry for each of the "
             f"M={self.m} blocks"),
            (not self.pool or smallest >= 2**self.m,
             f"M={self.m} poolings halve a {smallest}-pixel side to nothing: "
             f"use M ≤ {smallest.bit_length() - 1} or pool=False"),
            (0 <= self.dropout < 1,
             f"dropout must be in [0, 1), got {self.dropout}"),
        )  # fmt: skip
        outputs = {}
        x = images.astype(self.dtype)
        for block in range(self.m):
            for _ in range(self.n):
                x = relu(Conv(features[block], self.kernel_size, dtype=self.dtype)(x))
            if self.pool:
                x = max_pool(x, 2)
            outputs[f"block{block + 1}"] = x
        x = x.reshape(x.shape[0], -1)
        for _ in range(self.k):
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = relu(nn.Dense(self.hidden, dtype=self.dtype)(x))
        outputs["pre_logits"] = x
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        if self.num_classes:
            logits = nn.Dense(self.num_classes, dtype=self.dtype)(x)
            outputs["logits"] = logits.astype(jnp.float32)
        return outputs


VARIANTS = {"convnet": Variant(ConvNet, "", (28, 28, 1), OURS)}
