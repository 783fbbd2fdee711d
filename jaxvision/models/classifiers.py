"""Every classifier by its name.  Their maps serve dense networks and detectors."""

from jaxvision.errors import unknown
from jaxvision.models import (
    alexnet,
    convnet,
    convnext,
    cspdarknet,
    densenet,
    efficientnet,
    efficientnet_lite,
    googlenet,
    inception,
    lenet,
    linear,
    maxvit,
    mit,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    regnet,
    resnet,
    resnet_cifar,
    resnet_v2,
    senet,
    shufflenet_v2,
    squeezenet,
    swin,
    vgg,
    vit,
    wide_resnet,
    xception,
)
from jaxvision.models.variant import Variant

VARIANTS: dict[str, Variant] = {
    **alexnet.VARIANTS,
    **convnet.VARIANTS,
    **convnext.VARIANTS,
    **cspdarknet.VARIANTS,
    **densenet.VARIANTS,
    **efficientnet.VARIANTS,
    **efficientnet_lite.VARIANTS,
    **googlenet.VARIANTS,
    **inception.VARIANTS,
    **lenet.VARIANTS,
    **linear.VARIANTS,
    **maxvit.VARIANTS,
    **mit.VARIANTS,
    **mnasnet.VARIANTS,
    **mobilenet_v1.VARIANTS,
    **mobilenet_v2.VARIANTS,
    **mobilenet_v3.VARIANTS,
    **regnet.VARIANTS,
    **resnet.VARIANTS,
    **resnet_cifar.VARIANTS,
    **resnet_v2.VARIANTS,
    **senet.VARIANTS,
    **shufflenet_v2.VARIANTS,
    **squeezenet.VARIANTS,
    **swin.VARIANTS,
    **vgg.VARIANTS,
    **vit.VARIANTS,
    **wide_resnet.VARIANTS,
    **xception.VARIANTS,
}


def variant(name: str) -> Variant:
    """The classifier of that name, or a `UsageError` with the nearest ones."""
    if name not in VARIANTS:
        raise unknown("encoder", name, VARIANTS)
    return VARIANTS[name]
