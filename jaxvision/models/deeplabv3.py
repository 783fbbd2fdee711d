"""DeepLabv3.  Chen et al. 2017, https://arxiv.org/abs/1706.05587, figure 5

    images → encoder with dilations in the place of its last strides
           → atrous spatial pyramid pooling → 3×3 convolution → 1×1 convolution
           → bilinear up-sampling

An auxiliary head sees a stage in the middle.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn

from jaxvision.layers.aspp import ASPP
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.fcn_head import fcn_head
from jaxvision.layers.norm import batch_norm
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import Variant


class DeepLabV3(OnEncoder):
    """Outputs: the encoder's two maps by their names, such as `stage3` and `stage4`,
    `aspp` [B,H/s,W/s,256], `aux_logits` and `logits` [B,H,W,num_classes], float32.

    Any image size.
    """

    encoder: Encoder = "resnet50"
    output_stride: int = 8
    """s, of the encoder's last map: 8, 16 or 32."""
    rates: Sequence[int] = (12, 24, 36)
    """Dilations of the pyramid."""
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
        size = images.shape[1:3]
        norm = batch_norm(train=train, dtype=self.dtype)
        aspp = ASPP(
            norm, train, rates=self.rates, dtype=self.dtype, name="classifier.0"
        )
        outputs["aspp"] = x = aspp(x)
        names = ("classifier.1", "classifier.2")
        x = conv_norm(x, x.shape[-1], names=names, norm=norm, dtype=self.dtype)
        for y in middle:
            outputs = fcn_head(
                outputs,
                y,
                self.num_classes,
                size,
                norm=norm,
                train=train,
                dtype=self.dtype,
                name="aux_classifier",
                output="aux_logits",
            )
        return self._classify(outputs, x, images, name="classifier.4")


PAPER = "Chen et al. 2017, https://arxiv.org/abs/1706.05587"

VARIANTS = {
    f"deeplabv3_{encoder}": Variant(
        partial(DeepLabV3, encoder=encoder), PAPER, (520, 520, 3)
    )
    for encoder in ("resnet50", "resnet101")
} | {
    "deeplabv3_mobilenet_v3_large": Variant(
        partial(
            DeepLabV3,
            encoder="mobilenet_v3_large",
            output_stride=16,
            aux_from="stage3_first",
        ),
        PAPER,
        (520, 520, 3),
        # torchvision's has the list of the encoder's layers in its place.
        {"torchvision": ((r"^backbone\.features\.", "backbone."),)},
    )
}
