"""Every model by its name."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from jaxvision.errors import unknown
from jaxvision.layers.imagenet import MEAN, STD
from jaxvision.models import (
    alexnet,
    convnet,
    convnext,
    densenet,
    efficientnet,
    efficientnet_lite,
    fcn,
    googlenet,
    inception,
    lenet,
    linear,
    maxvit,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    regnet,
    resnet,
    resnet_cifar,
    resnet_v2,
    segformer,
    segnet,
    senet,
    shufflenet_v2,
    squeezenet,
    swin,
    unet,
    vgg,
    vit,
    wide_resnet,
    xception,
)
from jaxvision.models.linen import check_options, from_linen
from jaxvision.models.variant import Rules, Variant
from jaxvision.recipes import MODELS
from jaxvision.types import Model

VARIANTS: dict[str, Variant] = {
    **alexnet.VARIANTS,
    **convnet.VARIANTS,
    **convnext.VARIANTS,
    **densenet.VARIANTS,
    **efficientnet.VARIANTS,
    **efficientnet_lite.VARIANTS,
    **fcn.VARIANTS,
    **googlenet.VARIANTS,
    **inception.VARIANTS,
    **lenet.VARIANTS,
    **linear.VARIANTS,
    **maxvit.VARIANTS,
    **mnasnet.VARIANTS,
    **mobilenet_v1.VARIANTS,
    **mobilenet_v2.VARIANTS,
    **mobilenet_v3.VARIANTS,
    **regnet.VARIANTS,
    **resnet.VARIANTS,
    **resnet_cifar.VARIANTS,
    **resnet_v2.VARIANTS,
    **segformer.VARIANTS,
    **segnet.VARIANTS,
    **senet.VARIANTS,
    **shufflenet_v2.VARIANTS,
    **squeezenet.VARIANTS,
    **swin.VARIANTS,
    **unet.VARIANTS,
    **vgg.VARIANTS,
    **vit.VARIANTS,
    **wide_resnet.VARIANTS,
    **xception.VARIANTS,
}


def names() -> list[str]:
    """The names that `create` knows, sorted."""
    return sorted(VARIANTS)


def default_input(name: str) -> tuple[int, int, int]:
    """Height, width and channels of the images that the model's paper uses."""
    return _variant(name).input_shape


def sources(name: str) -> Mapping[str, Rules]:
    """Who publishes weights of the model, and how their names differ from ours."""
    return _variant(name).sources


def timm(name: str) -> tuple[str | None, Mapping[str, Any]]:
    """The model's name in timm, if shapes of weights do not tell it apart there.

    With it come the options of `create` that make it compute the same as timm's.
    """
    variant = _variant(name)
    return variant.timm, variant.timm_options


def paper(name: str) -> str:
    """Authors, year and address of the paper, or "" where there is none."""
    return _variant(name).paper


def normalisation(name: str, **options) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """How images are normalised for the model's published weights.

    Means and deviations of the channels, for pixels from 0 to 1: the arguments of
    `ops.augment.normalise`.  `options` are those of `create`: with `transform_input`,
    where there is one, the model converts images from ImageNet's statistics itself.
    """
    variant = _variant(name)
    return (MEAN, STD) if options.get("transform_input") else variant.normalisation


def constants(name: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Entries of the reference implementation's state dict beside the weights."""
    found = _variant(name).constants
    return {} if found is None else found(state)


@MODELS.recorded
def create(name: str, **options) -> Model:
    """The named model.  `options` are the fields of its module, such as `num_classes`.

    Raises `UsageError` for an unknown name or option, with the nearest ones.
    """

    def rebuild(**others):
        return create(name, **options | others)

    return from_linen(build(name, **options))._replace(rebuild=rebuild)


def build(name: str, **options) -> nn.Module:
    """The Linen module of the named model, with the errors of `create`."""
    variant = _variant(name)
    check_options(f"model {name}", variant.build, options)
    return variant.build(**options)


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise unknown("model", name, VARIANTS)
    return VARIANTS[name]
