"""AlexNet.  Krizhevsky et al. 2012, https://papers.nips.cc/paper/4824

    images 224×224 → 11×11 convolution, stride 4 → pool → 5×5 → pool
                   → three 3×3 → pool → 4096 → 4096 → 1000

`alexnet_2012` is the network of the paper, for 227×227 images: 96, 256, 384, 384 and
256 channels, three layers in two groups, which were on two GPUs, and local response
normalisation.  `alexnet` is torchvision's, after Krizhevsky 2014,
https://arxiv.org/abs/1404.5997: no groups and no normalisation.  `alexnet_fcn` is
the same network with its dense layers as convolutions, so that a larger image gives a
map of scores; it loads the weights of `alexnet`.  What is before the dense layers,
`trunk`, is also that of `fcn32s_alexnet`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.local_response import local_response_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import adaptive_avg_pool, max_pool

PAPER = "Krizhevsky et al. 2012, https://papers.nips.cc/paper/4824"

FEATURES = (64, 192, 384, 256, 256)

halve = partial(max_pool, window=3, strides=2)


def trunk(
    images: jax.Array,
    features: Sequence[int] = FEATURES,
    *,
    stem_padding: int = 2,
    groups: int = 1,
    normalise: bool = False,
    pool: Callable[[jax.Array], jax.Array] = halve,
    dtype: Any = jnp.float32,
) -> dict[str, jax.Array]:
    """`conv1`, `conv2`, `conv5` (before each pooling), `stage1` … `stage3` (after it).

    The layers, `features.0` and so on, belong to the module that calls it.

    Args:
      features: channels of the five convolutions.
      stem_padding: zeros around the images.
      groups: of the second, fourth and fifth convolutions.
      normalise: whether local response normalisation follows the first two.
      pool: what ends a stage, 3×3 with strides of 2.
    """
    one, two, three, four, five = features
    conv = partial(Conv, padding=1, dtype=dtype)
    outputs: dict[str, jax.Array] = {}

    def normalised(x):
        return local_response_norm(x) if normalise else x

    x = conv(one, 11, strides=4, padding=stem_padding, name="features.0")(images)
    outputs["conv1"] = x = normalised(relu(x))
    outputs["stage1"] = x = pool(x)
    x = conv(two, 5, padding=2, groups=groups, name="features.3")(x)
    outputs["conv2"] = x = normalised(relu(x))
    outputs["stage2"] = x = pool(x)
    x = relu(conv(three, name="features.6")(x))
    x = relu(conv(four, groups=groups, name="features.8")(x))
    x = relu(conv(five, groups=groups, name="features.10")(x))
    outputs["conv5"] = x
    outputs["stage3"] = pool(x)
    return outputs


class AlexNet(nn.Module):
    """Outputs: `conv1`, `conv2`, `conv5` (before each pooling), `stage1` … `stage3`
    (after it), `pre_logits`, `logits`.

    Any image of at least 63×63 pixels: the last map is averaged to 6×6.
    """

    features: Sequence[int] = FEATURES
    num_classes: int = 1000
    stem_padding: int = 2
    groups: int = 1
    """Groups of the second, fourth and fifth convolutions: the GPUs of 2012."""
    normalise: bool = False
    """Local response normalisation after the first two convolutions."""
    fully_convolutional: bool = False
    """Whether `pre_logits` and `logits` are maps of stride 32."""
    dropout: float = 0.5
    hidden: int = 4096
    """Units of the two dense layers before the last."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = trunk(
            images,
            self.features,
            stem_padding=self.stem_padding,
            groups=self.groups,
            normalise=self.normalise,
            dtype=self.dtype,
        )
        x = outputs["stage3"]
        dropped = nn.Dropout(self.dropout, deterministic=not train)
        if self.fully_convolutional:
            slide = partial(Conv, padding="VALID", dtype=self.dtype)
            x = relu(slide(self.hidden, 6, name="classifier.1")(dropped(x)))
            x = relu(slide(self.hidden, 1, name="classifier.4")(dropped(x)))
            outputs["pre_logits"] = x
            if self.num_classes:
                logits = slide(self.num_classes, 1, name="classifier.6")(x)
                outputs["logits"] = logits.astype(jnp.float32)
            return outputs
        x = adaptive_avg_pool(x, 6)
        # Channels first, which is the order of the published weights.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        dense = partial(nn.Dense, dtype=self.dtype)
        x = relu(dense(self.hidden, name="classifier.1")(dropped(x)))
        x = relu(dense(self.hidden, name="classifier.4")(dropped(x)))
        return classify(
            outputs,
            x,
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier.6",
        )


VARIANTS = {
    "alexnet": Variant(AlexNet, PAPER),
    "alexnet_fcn": Variant(partial(AlexNet, fully_convolutional=True), PAPER),
    "alexnet_2012": Variant(
        partial(
            AlexNet,
            features=(96, 256, 384, 384, 256),
            stem_padding=0,
            groups=2,
            normalise=True,
        ),
        PAPER,
        (227, 227, 3),
    ),
}
