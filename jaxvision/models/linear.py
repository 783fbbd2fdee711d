"""Networks of fully connected layers: the perceptron and the multilayer perceptron.

Rosenblatt 1958, https://doi.org/10.1037/h0042519; Rumelhart, Hinton and Williams 1986,
https://doi.org/10.1038/323533a0
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu

PAPER = "Rosenblatt 1958, https://doi.org/10.1037/h0042519"
PAPER_MLP = "Rumelhart et al. 1986, https://doi.org/10.1038/323533a0"


class MLP(nn.Module):
    """Flatten, hidden layers with an activation, one linear layer of class scores.

    With no hidden layer it is the perceptron, a single linear layer.  Outputs:
    `pre_logits` [B,D] and `logits` [B,num_classes].
    """

    num_classes: int = 10
    hidden: Sequence[int] = ()
    activation: Callable[[jax.Array], jax.Array] = relu
    dropout: float = 0.0
    """Rate behind each hidden layer."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = images.reshape(images.shape[0], -1).astype(self.dtype)
        for features in self.hidden:
            x = self.activation(nn.Dense(features, dtype=self.dtype)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        outputs = {"pre_logits": x}
        if self.num_classes:
            logits = nn.Dense(self.num_classes, dtype=self.dtype)(x)
            outputs["logits"] = logits.astype(jnp.float32)
        return outputs


VARIANTS = {
    "perceptron": Variant(MLP, PAPER, (28, 28, 1), OURS),
    "mlp": Variant(partial(MLP, hidden=(300, 100)), PAPER_MLP, (28, 28, 1), OURS),
}
