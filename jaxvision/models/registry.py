"""Every model by its name."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from jaxvision.errors import unknown
from jaxvision.layers.imagenet import MEAN, STD
from jaxvision.models import (
    classifiers,
    deeplabv3,
    deeplabv3plus,
    detectors,
    fcn,
    fcn_dilated,
    fpn,
    linknet,
    lraspp,
    pose,
    pspnet,
    segformer,
    segnet,
    unet,
    unet_encoder,
    unetplusplus,
)
from jaxvision.models.encoder import OnEncoder
from jaxvision.models.linen import check_options, from_linen
from jaxvision.models.variant import Rules, Variant
from jaxvision.recipes import MODELS
from jaxvision.types import Model

VARIANTS: dict[str, Variant] = {
    **classifiers.VARIANTS,
    **deeplabv3.VARIANTS,
    **deeplabv3plus.VARIANTS,
    **detectors.VARIANTS,
    **fcn.VARIANTS,
    **fcn_dilated.VARIANTS,
    **fpn.VARIANTS,
    **linknet.VARIANTS,
    **lraspp.VARIANTS,
    **pose.VARIANTS,
    **pspnet.VARIANTS,
    **segformer.VARIANTS,
    **segnet.VARIANTS,
    **unet.VARIANTS,
    **unet_encoder.VARIANTS,
    **unetplusplus.VARIANTS,
}


def names() -> list[str]:
    """The names that `create` knows, sorted."""
    return sorted(VARIANTS)


def default_input(name: str) -> tuple[int, int, int]:
    """Height, width and channels of the images that the model's paper uses."""
    return _variant(name).input_shape


def sources(name: str, **options) -> Mapping[str, Rules]:
    """Who publishes weights of the model, and how their names differ from ours.

    `options` are those of `create`: names may depend on the encoder.
    """
    return _variant(name).published(**options)


def encoder_of(name: str, **options) -> tuple[str, Mapping[str, Any]] | None:
    """The classifier that a model of this name has as its encoder, and its options.

    None where there is none, or none of the zoo.  `options` are those of `create`.
    """
    module = build(name, **options)
    if not isinstance(module, OnEncoder) or not isinstance(module.encoder, str):
        return None
    return module.encoder, dict(module.encoder_options or {})


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
    where there is one, the model converts images from ImageNet's statistics itself,
    and an `encoder` expects what it does as a classifier.
    """
    found = _variant(name).normalisation
    if found is None and name not in classifiers.VARIANTS:
        inner = encoder_of(name, **options)
        found = None if inner is None else classifiers.variant(inner[0]).normalisation
    if found is None or options.get("transform_input"):
        return MEAN, STD
    return found


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
