"""LeNet-5.  LeCun et al. 1998, https://doi.org/10.1109/5.726791, section II.B.

    input 32×32 → C1 6@28×28 → S2 6@14×14 → C3 16@10×10 → S4 16@5×5
                → C5 120 → F6 84 → 10

As in most later implementations, C3 sees all maps of S2 (the paper's table of
connections saved arithmetic), subsampling has no weights, and the last layer is linear.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError
from jaxvision.layers.conv import Conv
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import avg_pool, max_pool

PAPER = "LeCun et al. 1998, https://doi.org/10.1109/5.726791"


class LeNet5(nn.Module):
    """Outputs: `c1` … `s4` feature maps, `c5` [B,120], `pre_logits` [B,84], `logits`.

    Images are 32×32 (28×28 digits padded by 2); any number of channels.
    """

    num_classes: int = 10
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    pool: Callable[..., jax.Array] = avg_pool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        if images.shape[1:3] != (32, 32):
            raise UsageError(
                f"LeNet-5 takes 32×32 images, got {images.shape[1]}×{images.shape[2]}: "
                "pad or resize them (28×28 digits are padded by 2 on every side)"
            )
        conv = partial(
            Conv,
            kernel_size=5,
            padding="VALID",
            dtype=self.dtype,
            kernel_init=nn.initializers.lecun_normal(),
        )
        dense = partial(nn.Dense, dtype=self.dtype)

        c1 = self.activation(conv(6, name="c1")(images))
        s2 = self.pool(c1, 2)
        c3 = self.activation(conv(16, name="c3")(s2))
        s4 = self.pool(c3, 2)
        flat = s4.reshape(s4.shape[0], -1)
        # On a 5×5 map the 5×5 convolution C5 is a fully connected layer.
        c5 = self.activation(dense(120, name="c5")(flat))
        f6 = self.activation(dense(84, name="f6")(c5))
        outputs = {
            "c1": c1,
            "s2": s2,
            "c3": c3,
            "s4": s4,
            "c5": c5,
            "pre_logits": f6,
        }
        if self.num_classes:
            logits = dense(self.num_classes, name="output")(f6)
            outputs["logits"] = logits.astype(jnp.float32)
        return outputs


VARIANTS = {
    "lenet5": Variant(LeNet5, PAPER, (32, 32, 1), OURS),
    "lenet5_relu": Variant(
        partial(LeNet5, activation=relu, pool=max_pool), PAPER, (32, 32, 1), OURS
    ),
}
