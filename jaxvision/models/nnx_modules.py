"""Any NNX module as a `Model`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxvision.errors import UsageError
from jaxvision.models.linen import named
from jaxvision.ops.convolution.drop_in import conv_general_dilated
from jaxvision.types import Array, Model, PyTree


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """What `make` makes of random streams, as a pair of pure functions.

        model = models.from_nnx(lambda rngs: Net(num_classes=10, rngs=rngs))

    `apply` calls the module, or the method that `entry` names, on the inputs, after
    `module.train()` or `module.eval()`.  Its `nnx.Param` are `params`; variables of
    other kinds, such as `batch_stats`, are the model state.  The random streams inside
    begin anew from `key` in every call.  Outputs are named, convolutions computed and
    `no_weight_decay` is found as by `from_linen`.

    Raises `UsageError` unless `make` returns a module.
    """
    abstract = nnx.eval_shape(lambda: _made(make, jax.random.key(0)))
    kinds = {"params": nnx.Param}
    for _, leaf in nnx.to_flat_state(nnx.state(abstract)):
        if not isinstance(leaf, nnx.Param | nnx.RngState):
            kinds[nnx.variable_name_from_type(type(leaf))] = type(leaf)
    graph, streams, *templates = nnx.split(abstract, nnx.RngState, *kinds.values())

    def variables_of(module: nnx.Module) -> dict[str, PyTree]:
        _, _, *states = nnx.split(module, nnx.RngState, *kinds.values())
        pure = (_with_text_keys(nnx.to_pure_dict(state)) for state in states)
        return dict(zip(kinds, pure, strict=True))

    def init(key, *inputs):
        return variables_of(_made(make, key))

    def apply(variables, *inputs, entry=None, train=False, key=None):
        states = [jax.tree.map(lambda leaf: leaf, template) for template in templates]
        for kind, state in zip(kinds, states, strict=True):
            nnx.replace_by_pure_dict(state, variables[kind])
        module = nnx.merge(graph, _begun(streams, key), *states)
        module.train() if train else module.eval()
        call = module if entry is None else getattr(module, entry)
        outputs = call(*inputs)
        state = variables_of(module) if train else dict(variables)
        del state["params"]
        return named(outputs, module) if entry is None else outputs, state

    return Model(init, apply, no_weight_decay=getattr(abstract, "no_weight_decay", ()))


def _made(make: Callable[[nnx.Rngs], nnx.Module], key: Array) -> nnx.Module:
    module = make(nnx.Rngs(key))
    if not isinstance(module, nnx.Module):
        raise UsageError(
            "from_nnx takes a function of nnx.Rngs that returns an NNX module, such as "
            f"lambda rngs: Net(rngs=rngs); this one returned {type(module).__name__}"
        )
    for _, node in nnx.iter_graph(module):
        plain = isinstance(node, nnx.Conv)
        if plain and node.conv_general_dilated is lax.conv_general_dilated:
            node.conv_general_dilated = conv_general_dilated
    return module


def _begun(streams: nnx.State, key: Array | None) -> nnx.State:
    """The random streams at their beginning, each with a key of its own."""
    key = jax.random.key(0) if key is None else key
    leaves, tree = jax.tree.flatten(streams)

    def begin(number, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.fold_in(key, number), leaf.shape)
        return jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.unflatten(tree, [begin(*each) for each in enumerate(leaves)])


def _with_text_keys(tree: Any) -> Any:
    """The places in lists, which NNX counts, as text: names of variables are that."""
    if not isinstance(tree, dict):
        return tree
    return {str(name): _with_text_keys(value) for name, value in tree.items()}
