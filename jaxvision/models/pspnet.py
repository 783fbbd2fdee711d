"""The pyramid scene parsing network.  Zhao et al. 2017, https://arxiv.org/abs/1612.01105

    images → encoder, no further than 1/8 of the image's size → pyramid pooling
           → 1×1 convolution → 3×3 convolution → bilinear up-sampling

The paper dilates the encoder's last stages, to the same size.  The default here is that
of segmentation_models_pytorch, whose encoder ends before them;
`encoder_options={"output_stride": 8}` is the paper's.
"""

import flax.linen as nn

from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.pyramid_pooling import PyramidPooling
from jaxvision.models import smp_names
from jaxvision.models.encoder import OnEncoder, check_sides
from jaxvision.models.variant import Variant


class PSPNet(OnEncoder):
    """Outputs: the encoder's map by its name, such as `stage2`, `pooled`
    [B,H/8,W/8,decoder_channels] and `logits` [B,H,W,num_classes], float32.

    Height and width are multiples of 8.
    """

    stride: int = 8
    """Of the map that is pooled, the deepest of this stride."""
    decoder_channels: int = 512
    dropout: float = 0.2
    """The share of channels that training drops before the scores."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_sides(images, self.stride, self)
        outputs = self._encode(images, (self.stride,), train=train)
        (x,) = outputs.values()
        norm, init = (
            batch_norm(train=train, dtype=self.dtype),
            nn.initializers.he_uniform(),
        )
        x = PyramidPooling(
            norm, dtype=self.dtype, kernel_init=init, name="decoder.psp"
        )(x)
        outputs["pooled"] = x = ConvNorm(
            self.decoder_channels,
            1,
            norm=norm,
            dtype=self.dtype,
            kernel_init=init,
            name="decoder.conv",
        )(x)
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return self._classify(
            outputs,
            x,
            images,
            kernel_size=3,
            align_corners=True,
            name="segmentation_head.0",
        )


PAPER = "Zhao et al. 2017, https://arxiv.org/abs/1612.01105"

VARIANTS = {"pspnet": Variant(PSPNet, PAPER, (512, 512, 3), smp_names.sources)}
