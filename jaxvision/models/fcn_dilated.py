"""A fully convolutional network on a dilated encoder.

    images → encoder whose maps stay at 1/8 of the image's size
           → 3×3 convolution → 1×1 convolution → bilinear up-sampling

Long et al. 2015, https://arxiv.org/abs/1411.4038, with the encoder of Chen et al. 2018
in the place of skips.  An auxiliary head of the same kind sees a stage in the middle.
"""

from functools import partial

import flax.linen as nn

from jaxvision.layers.fcn_head import fcn_head
from jaxvision.layers.norm import batch_norm
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import Variant


class DilatedFCN(OnEncoder):
    """Outputs: the encoder's two maps by their names, such as `stage3` and `stage4`,
    `aux_logits` and `logits` [B,H,W,num_classes], float32.

    Any image size.
    """

    encoder: Encoder = "resnet50"
    output_stride: int = 8
    """Of the encoder's last map: 8, 16 or 32."""
    aux: bool = True
    """Whether there is an auxiliary head."""
    aux_from: str = "stage3"
    """The activation of the encoder that it sees."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        wanted = (*([self.aux_from] if self.aux else ()), self.output_stride)
        outputs = self._encode(
            images, wanted, train=train, output_stride=self.output_stride
        )
        *middle, x = outputs.values()
        head = partial(
            fcn_head,
            num_classes=self.num_classes,
            size=images.shape[1:3],
            norm=batch_norm(train=train, dtype=self.dtype),
            train=train,
            dtype=self.dtype,
        )
        for y in middle:
            outputs = head(outputs, y, name="aux_classifier", output="aux_logits")
        return head(outputs, x, name="classifier")


PAPER = "Long et al. 2015, https://arxiv.org/abs/1411.4038"

VARIANTS = {
    f"fcn_{encoder}": Variant(
        partial(DilatedFCN, encoder=encoder), PAPER, (520, 520, 3)
    )
    for encoder in ("resnet50", "resnet101")
}
