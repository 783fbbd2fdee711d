"""Every model by its name, and any Linen module as a `Model`."""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import ScopeParamShapeError

from jaxvision.errors import UsageError, unknown
from jaxvision.models import (
    alexnet,
    convnet,
    convnext,
    densenet,
    efficientnet,
    efficientnet_lite,
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
    senet,
    shufflenet_v2,
    squeezenet,
    swin,
    vgg,
    vit,
    xception,
)
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.convolution import WindowError
from jaxvision.types import Model

VARIANTS: dict[str, Variant] = {
    **alexnet.VARIANTS,
    **convnet.VARIANTS,
    **convnext.VARIANTS,
    **densenet.VARIANTS,
    **efficientnet.VARIANTS,
    **efficientnet_lite.VARIANTS,
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
    **senet.VARIANTS,
    **shufflenet_v2.VARIANTS,
    **squeezenet.VARIANTS,
    **swin.VARIANTS,
    **vgg.VARIANTS,
    **vit.VARIANTS,
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
    """What timm calls the model, if that is to be told apart, and with which options of
    `create` it computes what timm's does."""
    variant = _variant(name)
    return variant.timm, variant.timm_options


def paper(name: str) -> str:
    """Authors, year and address of the paper: "He et al. 2016, https://…"."""
    variant = _variant(name)
    if variant.paper is not None:
        return variant.paper
    module = getattr(variant.build, "func", variant.build).__module__
    text = " ".join((sys.modules[module].__doc__ or "").split())
    found = re.search(
        r"([A-Z][\w-]+(?: et al\.| and \w+)? \d{4}), (https://\S+\w)", text
    )
    return f"{found[1]}, {found[2]}" if found else ""


def constants(name: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the reference implementation wants beside these published weights."""
    found = _variant(name).constants
    return {} if found is None else found(state)


def create(name: str, **options) -> Model:
    """The named model.  `options` are the fields of its module, such as `num_classes`.

    Raises `UsageError` for an unknown name or option, with the nearest ones.
    """
    return from_linen(build(name, **options))


def build(name: str, **options) -> nn.Module:
    """The Linen module of the named model, with the errors of `create`."""
    variant = _variant(name)
    _check_options(f"model {name}", variant.build, options)
    return variant.build(**options)


def from_linen(module: nn.Module) -> Model:
    """A Linen module as a pair of pure functions.

    The module is called as `module(images, train=…)` and returns a dict of named
    activations.  In training, dropout draws from the `key` given to `apply`, and
    every collection but `params` comes back as the new model state.

    Both functions raise `UsageError` for images that are too small for the network,
    and `apply` for images or options that the variables were not made for.
    """

    def init(key, images):
        with _explained(module, images):
            return module.init(key, images, train=False)

    def apply(variables, images, *, train=False, key=None):
        state = {name: value for name, value in variables.items() if name != "params"}
        with _explained(module, images):
            if not train:
                return module.apply(variables, images, train=False), state
            rngs = None if key is None else {"dropout": key}
            outputs, new_state = module.apply(
                variables, images, train=True, rngs=rngs, mutable=list(state)
            )
            return outputs, new_state

    def variant(**options):
        _check_options(type(module).__name__, type(module), options)
        return from_linen(module.clone(**options))

    return Model(init, apply, variant)


def _check_options(owner: str, build: Callable, options: Iterable[str]) -> None:
    known = set(inspect.signature(build).parameters) - {"parent", "name"}
    for option in options:
        if option not in known:
            raise unknown(f"option of {owner}", option, known)


@contextmanager
def _explained(module: nn.Module, images):
    """Errors from the inside of a network, in terms of what its user gave it."""
    size = "×".join(map(str, images.shape[1:]))
    try:
        yield
    except WindowError as error:
        least = _smallest_side(module, images.shape)
        raise UsageError(
            f"images of {size} are too small for {type(module).__name__}, which takes "
            f"{least}×{least} and more: enlarge them"
        ) from error
    except ScopeParamShapeError as error:
        raise UsageError(
            f"these variables were not made for {type(module).__name__} with images of "
            f"{size}: they belong to another number of channels, another size, or "
            f"other options ({error})"
        ) from error


def _smallest_side(module: nn.Module, shape) -> int:
    """The side of the smallest square image that the network takes."""

    def fits(side: int) -> bool:
        images = jax.ShapeDtypeStruct((1, side, side, shape[3]), jnp.float32)
        try:
            jax.eval_shape(
                lambda images: module.init(jax.random.key(0), images, train=False),
                images,
            )
        except WindowError:
            return False
        return True

    low, high = 0, 1
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise unknown("model", name, VARIANTS)
    return VARIANTS[name]
