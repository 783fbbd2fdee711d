"""Every model, for tests that are swept over them: the fastest in `make test`."""

import pytest

from jaxvision import models

FASTEST = (
    "alexnet", "convnet", "lenet5", "mlp", "mobilenet_v3_small", "resnet18", "resnet20",
    "pspnet", "shufflenet_v2_x0_5", "squeezenet1_1", "unet_small", "vgg11",
    "vit_tiny_patch16_224",
)  # fmt: skip
"""Of most kinds of architecture one that is traced fast."""

EVERY_MODEL = [
    pytest.param(name, marks=() if name in FASTEST else pytest.mark.slow)
    for name in models.names()
]
