"""The end of a network alone, on features that were computed before."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from jaxvision.errors import UsageError
from jaxvision.types import Array, Model, Variables

FEATURES = "pre_logits"
"""The activation that class scores are computed from."""


def on_features(model: Model, input_shape: tuple[int, int, int]) -> Model:
    """The same network with the same variables, which also takes features for images.

    Images [B,H,W,C] go through all of it.  Of features [B,1,1,D], its `pre_logits` for
    images of `input_shape`, what is left is computed: `logits`, as in an evaluation.  A
    head that is trained on features so costs a small part of the time, and the network
    that it ends is at once what images are given to.

    Raises `UsageError`, when it is given features, unless its `logits` are a function
    of its `pre_logits`.
    """

    def init(key, inputs):
        images = jnp.zeros((1, *input_shape)) if _are_features(inputs) else inputs
        return model.init(key, images)

    def apply(variables, inputs, *, entry=None, train=False, key=None):
        if not _are_features(inputs):
            entries = {} if entry is None else {"entry": entry}
            return model.apply(variables, inputs, **entries, train=train, key=key)
        state = {name: value for name, value in variables.items() if name != "params"}
        return _rest(model, variables, inputs[:, 0, 0], input_shape), state

    def rebuild(**options):
        assert model.rebuild is not None
        return on_features(model.rebuild(**options), input_shape)

    return model._replace(
        init=init, apply=apply, rebuild=None if model.rebuild is None else rebuild
    )


def _are_features(inputs: Array) -> bool:
    return inputs.shape[1:3] == (1, 1)


def _rest(
    model: Model,
    variables: Variables,
    features: Array,
    input_shape: tuple[int, int, int],
) -> Mapping[str, Array]:
    """What follows the features in the model's program for images."""

    def program(variables, images):
        outputs, _ = model.apply(variables, images)
        missing = [name for name in (FEATURES, "logits") if name not in outputs]
        if missing:
            raise UsageError(
                f"this model has no {' and no '.join(missing)} among its activations "
                f"{', '.join(outputs)}: train its head on images"
            )
        return outputs[FEATURES], outputs["logits"]

    images = jax.ShapeDtypeStruct((len(features), *input_shape), jnp.float32)
    traced = jax.make_jaxpr(program)(variables, images)
    begin, end = traced.jaxpr.outvars
    *arguments, image = traced.jaxpr.invars
    needed, equations = {end}, list[JaxprEqn]()
    for equation in reversed(traced.jaxpr.eqns):
        if needed & set(equation.outvars):
            equations.insert(0, equation)
            needed |= {v for v in equation.invars if not isinstance(v, Literal)}
            needed.discard(begin)
    if image in needed:
        raise UsageError(
            f"the class scores of this model are not computed from its {FEATURES} "
            "alone: train its head on images"
        )
    rest = traced.jaxpr.replace(
        invars=[*arguments, begin], outvars=[end], eqns=equations
    )
    values = [*jax.tree.leaves(variables), features.astype(traced.out_avals[0].dtype)]
    (logits,) = jax.core.eval_jaxpr(rest, traced.consts, *values)
    return {FEATURES: features, "logits": logits}
