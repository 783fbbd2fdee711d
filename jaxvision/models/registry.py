"""Every model by its name, and any Linen module as a `Model`."""

import inspect

import flax.linen as nn

from jaxvision.errors import unknown
from jaxvision.models import convnet, lenet, linear, resnet, resnet_cifar
from jaxvision.models.variant import Variant
from jaxvision.types import Model

VARIANTS: dict[str, Variant] = {
    **linear.VARIANTS,
    **lenet.VARIANTS,
    **convnet.VARIANTS,
    **resnet_cifar.VARIANTS,
    **resnet.VARIANTS,
}


def names() -> list[str]:
    """The names that `create` knows, sorted."""
    return sorted(VARIANTS)


def default_input(name: str) -> tuple[int, int, int]:
    """Height, width and channels of the images that the model's paper uses."""
    return _variant(name).input_shape


def create(name: str, **options) -> Model:
    """The named model.  `options` are the fields of its module, such as `num_classes`.

    Raises `UsageError` for an unknown name or option, with the nearest ones.
    """
    variant = _variant(name)
    known = set(inspect.signature(variant.build).parameters) - {"parent", "name"}
    for option in options:
        if option not in known:
            raise unknown(f"option of model {name}", option, known)
    return from_linen(variant.build(**options))


def from_linen(module: nn.Module) -> Model:
    """A Linen module as a pair of pure functions.

    The module is called as `module(images, train=…)` and returns a dict of named
    activations.  In training, dropout draws from the `key` given to `apply`, and
    every collection but `params` comes back as the new model state.
    """

    def init(key, images):
        return module.init(key, images, train=False)

    def apply(variables, images, *, train=False, key=None):
        state = {name: value for name, value in variables.items() if name != "params"}
        if not train:
            return module.apply(variables, images, train=False), state
        rngs = None if key is None else {"dropout": key}
        outputs, new_state = module.apply(
            variables, images, train=True, rngs=rngs, mutable=list(state)
        )
        return outputs, new_state

    return Model(init, apply)


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise unknown("model", name, VARIANTS)
    return VARIANTS[name]
