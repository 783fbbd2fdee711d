"""Lite R-ASPP.  Howard et al. 2019, https://arxiv.org/abs/1905.02244, figure 10

images → encoder → 1×1 convolution, times a gate from the mean of the map
       → up to the size of a finer map → class scores of both, added
       → bilinear up-sampling
"""

from functools import partial

import flax.linen as nn

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import Variant
from jaxvision.ops.upsample import resize


class LRASPP(OnEncoder):
    """Outputs: the encoder's two maps by their names, such as `stage3_first` and
    `last`, and `logits` [B,H,W,num_classes], float32.

    Any image size.
    """

    encoder: Encoder = "mobilenet_v3_large"
    output_stride: int = 16
    """Of the encoder's last map: 8, 16 or 32."""
    low_from: str = "stage3_first"
    """The activation of the encoder that is the finer map."""
    features: int = 128
    """Channels of the coarser map."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        wanted = (self.low_from, self.output_stride)
        outputs = self._encode(
            images, wanted, train=train, output_stride=self.output_stride
        )
        low, high = outputs.values()
        conv = partial(Conv, kernel_size=1, dtype=self.dtype)
        x = conv_norm(
            high,
            self.features,
            1,
            names=("classifier.cbr.0", "classifier.cbr.1"),
            norm=batch_norm(train=train, dtype=self.dtype),
            dtype=self.dtype,
        )
        mean = high.mean((1, 2), keepdims=True)
        gate = conv(self.features, use_bias=False, name="classifier.scale.1")(mean)
        x = resize(x * nn.sigmoid(gate), low.shape[1:3])
        if not self.num_classes:
            return outputs
        fine = conv(self.num_classes, name="classifier.low_classifier")(low)
        coarse = conv(self.num_classes, name="classifier.high_classifier")(x)
        scores = (fine + coarse).astype("float32")
        return {**outputs, "logits": resize(scores, images.shape[1:3])}


PAPER = "Howard et al. 2019, https://arxiv.org/abs/1905.02244"

VARIANTS = {
    "lraspp_mobilenet_v3_large": Variant(
        LRASPP,
        PAPER,
        (520, 520, 3),
        # torchvision's has the list of the encoder's layers in its place.
        {"torchvision": ((r"^backbone\.features\.", "backbone."),)},
    )
}
