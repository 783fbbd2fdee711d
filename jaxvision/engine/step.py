"""The functions that run on the devices: initialise, and train for some steps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxvision.engine.sharding import replicated
from jaxvision.engine.state import TrainState
from jaxvision.types import Array, Experiment, Model, PyTree, Sums, Task


class Report(NamedTuple):
    """What the host may want to know of a dispatch, apart from the state.

    The state is donated to the next dispatch, so this is a copy that stays readable.
    """

    sums: Sums
    """The training metrics since the last row of the log."""
    bad_step: Array
    """int32: the first step whose loss was not finite, or -1."""


def make_loss(model: Model, task: Task) -> Callable[..., tuple[Array, tuple]]:
    """`(params, model_state, batch, key) -> (loss, (model_state, sums))`."""

    def loss(params, model_state, batch, key):
        model_key, task_key = jax.random.split(key)

        def forward(images, *, state=None):
            state = model_state if state is None else state
            variables = {"params": params, **state}
            return model.apply(variables, images, train=True, key=model_key)

        return task.loss(forward, batch, key=task_key)

    return loss


def make_init(experiment: Experiment, mesh: Mesh) -> Callable[[PyTree], TrainState]:
    """`resident -> state` before the first step, made straight into its sharding."""
    model, task, optimizer = experiment.model, experiment.task, experiment.optimizer

    def init(resident, item):
        init_key, key = jax.random.split(jax.random.key(experiment.seed))
        shapes = jax.eval_shape(experiment.train.fetch, resident, item, key)
        image = shapes["image"]
        variables = model.init(init_key, jnp.zeros((1, *image.shape[1:]), image.dtype))
        params = variables["params"]
        model_state = {k: v for k, v in variables.items() if k != "params"}
        loss = make_loss(model, task)
        _, (_, sums) = jax.eval_shape(loss, params, model_state, shapes, key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            model_state=model_state,
            opt_state=optimizer.transform.init(params),
            key=jax.random.key_data(key),
            sums=jax.tree.map(jnp.zeros_like, sums),
        )

    item = next(experiment.train.items())
    return lambda resident: jax.jit(init, out_shardings=replicated(mesh))(
        resident, item
    )


def make_train_step(
    experiment: Experiment, mesh: Mesh, *, log_every: int
) -> Callable[[TrainState, PyTree, PyTree], tuple[TrainState, Report]]:
    """`(state, resident, items) -> (state, report)`, compiled once per number of steps.

    `items` [K,B,…] holds the items of K steps, which run in one dispatch.  The sums
    start anew every `log_every` steps.  The state is donated.
    """
    transform = experiment.optimizer.transform
    fetch = experiment.train.fetch
    gradient = jax.value_and_grad(
        make_loss(experiment.model, experiment.task), has_aux=True
    )

    def one_step(resident, state: TrainState, item) -> tuple[TrainState, Array]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        fetch_key, loss_key = jax.random.split(key)
        batch = fetch(resident, item, fetch_key)
        (loss, (model_state, sums)), gradients = gradient(
            state.params, state.model_state, batch, loss_key
        )
        updates, opt_state = transform.update(gradients, state.opt_state, state.params)
        fresh = state.step % log_every == 0
        bad_step = jnp.where(jnp.isfinite(loss), NEVER, state.step)
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            key=state.key,
            sums=jax.tree.map(
                lambda old, new: jnp.where(fresh, 0, old) + new, state.sums, sums
            ),
        )
        return state, bad_step

    def train_step(state, resident, items):
        num_steps = len(jax.tree.leaves(items)[0])
        if num_steps == 1:  # spares the compiler a loop
            item = jax.tree.map(lambda array: array[0], items)
            state, bad_step = one_step(resident, state, item)
        else:
            state, bad_steps = jax.lax.scan(
                lambda state, item: one_step(resident, state, item), state, items
            )
            bad_step = jnp.min(bad_steps)
        return state, Report(state.sums, jnp.where(bad_step == NEVER, -1, bad_step))

    return jax.jit(train_step, donate_argnums=0, out_shardings=replicated(mesh))


NEVER = np.int32(np.iinfo(np.int32).max)
