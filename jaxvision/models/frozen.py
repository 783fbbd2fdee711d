"""A network of which a part stays as it is, batch normalisation included."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import flax.linen as nn
import jax

from jaxvision.errors import UsageError
from jaxvision.layers.norm import BatchNorm
from jaxvision.paths import named_leaves, path_name
from jaxvision.types import Model, ModelState, PyTree


def frozen(model: Model, pattern: str) -> Model:
    """The model, whose arrays are constants where `pattern` is found in their paths.

    A path is `layer4.0/conv1/kernel`, or `layer4.0/bn1/mean` of a running average.

        models.frozen(model, "^(?!fc/)")        all but the last layer
        models.frozen(model, "/(mean|var)$")    running averages only

    Parameters get no gradient, so that the pass back ends above them.  Where running
    averages are constants, training normalises by them too, as an evaluation does.
    Dropout and stochastic depth act as in the rest of the network.

    An optimiser may still move what has no gradient, by weight decay for instance:
    `optim.groups([(pattern, None)], …)` keeps the same parameters from it.

    `apply` raises `UsageError` if an array would be computed anew in training all the
    same: that of another module than Linen's batch normalisation.
    """

    def apply(variables, *inputs, train=False, **options):
        found = _matching(variables, pattern)
        params = jax.tree_util.tree_map_with_path(
            lambda path, leaf: (
                jax.lax.stop_gradient(leaf) if found[path_name(path)] else leaf
            ),
            variables["params"],
        )
        with _in_evaluation(pattern) as evaluated:
            outputs, state = model.apply(
                {**variables, "params": params}, *inputs, train=train, **options
            )
        if train:
            before = {name: variables[name] for name in state}
            state = _kept(before, state, found, evaluated)
        return outputs, state

    def rebuild(**options):
        assert model.rebuild is not None
        return frozen(model.rebuild(**options), pattern)

    return model._replace(
        apply=apply, rebuild=None if model.rebuild is None else rebuild
    )


def _matching(variables: Mapping[str, PyTree], pattern: str) -> dict[str, bool]:
    """Whether the pattern is found in the path of each array of any collection."""
    return {
        path: bool(re.search(pattern, path))
        for tree in variables.values()
        for path in named_leaves(tree)
    }


@contextmanager
def _in_evaluation(pattern: str) -> Iterator[set[str]]:
    """Within it batch normalisation whose running mean has the pattern in its path uses
    its running averages.  Yields the paths of those that do, as they are called."""
    evaluated: set[str] = set()

    def call(method, args, kwargs, context):
        norm = context.module
        if not (
            isinstance(norm, BatchNorm | nn.BatchNorm)
            and context.method_name == "__call__"
            and re.search(pattern, "/".join((*norm.path, "mean")))
        ):
            return method(*args, **kwargs)
        evaluated.add("/".join(norm.path))
        # Modules are frozen; this one is a copy that belongs to the call.
        object.__setattr__(norm, "use_running_average", True)
        kwargs = {k: v for k, v in kwargs.items() if k != "use_running_average"}
        return method(*args[:1], **kwargs)

    with nn.intercept_methods(call):
        yield evaluated


def _kept(
    before: ModelState,
    after: ModelState,
    found: Mapping[str, bool],
    evaluated: set[str],
) -> ModelState:
    """The state after a pass, in which what is frozen is as it was before.

    Raises `UsageError` if a module has made something else of it in the meantime.
    """

    def keep(path, old, new):
        name = path_name(path[1:])
        module = name.rpartition("/")[0]
        if not found[name]:
            return new
        if old is not new and module not in evaluated:
            raise UsageError(
                f"{name} is frozen, and its module computes it anew in training: only "
                "batch normalisation of Linen can be frozen, so leave it out of the "
                "pattern"
            )
        return old

    return jax.tree_util.tree_map_with_path(keep, before, after)
