"""The model with its variables filled in, as tasks call it (`types.Forward`)."""

import itertools
from typing import Any

import jax

from jaxvision.errors import UsageError
from jaxvision.types import Array, Forward, Model, ModelState, PyTree


def in_training(
    model: Model,
    params: PyTree,
    model_state: ModelState,
    *,
    average: PyTree,
    step: Array,
    frozen: PyTree,
    key: Array,
) -> Forward:
    """Calls in training mode: the first draws from `key`, each other from its fold."""
    calls = itertools.count()

    def call(*inputs, entry, state, average, fixed, train):
        number = next(calls)
        own = key if number == 0 else jax.random.fold_in(key, number)
        mode = {"train": True if train is None else train, "key": own}
        return _apply(model, variables(state, average, fixed), inputs, entry, mode)

    variables = _variables(params, model_state, average)
    return Forward(call, step, frozen)


def in_evaluation(
    model: Model,
    params: PyTree,
    model_state: ModelState,
    *,
    average: PyTree,
    step: Array,
    frozen: PyTree,
) -> Forward:
    """Calls in evaluation mode, where the same call is computed once: metrics and
    predictions of a batch share their forward pass."""
    # By identity; the arguments are kept, so that no other array gets theirs.
    known: dict[Any, Any] = {}

    def call(*inputs, entry, state, average, fixed, train):
        leaves = jax.tree.leaves((inputs, state))
        same = (tuple(map(id, leaves)), entry, average, fixed, train)
        if same not in known:
            mode = {"train": bool(train)}
            chosen = variables(state, average, fixed)
            known[same] = leaves, _apply(model, chosen, inputs, entry, mode)
        return known[same][1]

    variables = _variables(params, model_state, average)
    return Forward(call, step, frozen)


def _variables(params: PyTree, model_state: ModelState, averaged: PyTree):
    """`(state, average, fixed) ->` the variables that a call asks for."""

    def chosen(state, average, fixed):
        own_params, own_state = params, model_state
        if average:
            if averaged is None:
                raise UsageError(
                    "the task uses averaged parameters, and the experiment keeps none: "
                    "set its `average`, such as optim.ema(0.999), or give --ema"
                )
            own_params, own_state = averaged["params"], averaged["model_state"]
        if average or fixed:
            own_params = jax.lax.stop_gradient(own_params)
        return {"params": own_params, **(own_state if state is None else state)}

    return chosen


def _apply(model: Model, variables, inputs, entry, mode):
    # Models without entries need not know the argument.
    entries = {} if entry is None else {"entry": entry}
    return model.apply(variables, *inputs, **entries, **mode)
