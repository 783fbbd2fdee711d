"""SegFormer.  Xie et al. 2021, https://arxiv.org/abs/2105.15203, section 3.2

    images → encoder → each map by a linear layer, brought to 1/4 of the image's size
           → a 1×1 convolution of all four → scores → bilinear up-sampling

Its encoder is the Mix Transformer, `mit_b0` and so on.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.models import mit
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import OURS, Rules, Variant
from jaxvision.ops.upsample import resize

STRIDES = (4, 8, 16, 32)


class SegFormer(OnEncoder):
    """Outputs: the encoder's maps of 1/4 … 1/32 of the image's size by their names,
    `fused` [B,H/4,W/4,decoder] and `logits` [B,H,W,num_classes], float32.

    Images of at least 29×29 pixels on a Mix Transformer, whose first stage needs a map
    to attend to.
    """

    encoder: Encoder = "mit_b0"
    num_classes: int = 150
    """As many as ADE20K has."""
    decoder: int = 256
    """Channels of the decoder."""
    dropout: float = 0.1
    """Rate before the scores."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = self._encode(images, STRIDES, train=train)
        first, *_ = outputs.values()
        maps = []
        for i, x in enumerate(outputs.values()):
            name = f"decode_head.linear_c.{i}.proj"
            x = mit.dense(self.decoder, dtype=self.dtype, name=name)(x)
            maps.append(resize(x, first.shape[1:3]))
        x = conv_norm(
            jnp.concatenate(maps[::-1], axis=-1),
            self.decoder,
            1,
            names=("decode_head.linear_fuse", "decode_head.batch_norm"),
            norm=batch_norm(train=train, dtype=self.dtype),
            dtype=self.dtype,
        )
        outputs["fused"] = x
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return self._classify(outputs, x, images, name="decode_head.classifier")


def sources(encoder: Any = "mit_b0", **_: Any) -> Mapping[str, Rules]:
    """Who publishes weights of a network with this encoder: see `Variant.sources`."""
    if encoder in mit.VARIANTS:
        return {"transformers": ((r"^backbone\.", ""),)}
    return OURS


VARIANTS = {
    f"segformer_{size}": Variant(
        partial(SegFormer, encoder=f"mit_{size}", decoder=decoder),
        mit.PAPER,
        (512, 512, 3),
        sources,
    )
    for size, decoder in (("b0", 256), ("b1", 256), ("b2", 768))
}
