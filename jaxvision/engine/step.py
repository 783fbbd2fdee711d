"""The functions that run on the devices: initialise, and train for some steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxvision import onednn
from jaxvision.engine import compilation
from jaxvision.engine.sharding import over_batch, replicated, shard_state
from jaxvision.engine.state import TrainState
from jaxvision.types import Array, Experiment, Model, PyTree, Sums, Task


class Report(NamedTuple):
    """What the host may want to know of a dispatch, apart from the state.

    The state is donated to the next dispatch, so this is a copy that stays readable.
    """

    sums: Sums
    """The training metrics since the last row of the log."""
    bad_step: Array
    """int32: the first step whose loss was not finite, or a spike; or -1."""
    bad_loss: Array
    """float32: its loss."""
    skipped: Array | None
    """int32: steps of the run that had no effect, where bad ones are skipped."""
    wish: Array | None
    """int32: the strongest wish of all processes, see `signals`; None for one process,
    which need not ask."""


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


class Init(NamedTuple):
    """How a run begins."""

    state: TrainState
    """Its shapes, dtypes and shardings."""
    shardings: TrainState
    """Where each array lies."""
    make: Callable[[], TrainState]
    """Makes the state, each device its own part."""


def make_init(experiment: Experiment, mesh: Mesh, resident: PyTree) -> Init:
    """What is before the first step.  `resident` may be abstract."""
    model, task, optimizer = experiment.model, experiment.task, experiment.optimizer
    item = abstract_item(experiment.train)

    def init() -> TrainState:
        init_key, key = jax.random.split(jax.random.key(experiment.seed))
        shapes = jax.eval_shape(experiment.train.fetch, resident, item, key)
        image = shapes["image"]
        variables = model.init(init_key, jnp.zeros((1, *image.shape[1:]), image.dtype))
        params = variables["params"]
        if experiment.param_dtype is not None:
            params = jax.tree.map(lambda x: x.astype(experiment.param_dtype), params)
        model_state = {k: v for k, v in variables.items() if k != "params"}
        loss = make_loss(model, task)
        _, (_, sums) = jax.eval_shape(loss, params, model_state, shapes, key)
        averaged = {"params": params, "model_state": model_state}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            model_state=model_state,
            opt_state=optimizer.transform.init(params),
            key=jax.random.key_data(key),
            sums=jax.tree.map(jnp.zeros_like, sums),
            average=None if experiment.average is None else _copy(averaged),
            guard=_first_guard() if _is_guarded(experiment) else None,
        )

    state = jax.eval_shape(init)
    shardings = shard_state(mesh, state, experiment.sharding)
    state = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        state,
        shardings,
    )
    make = jax.jit(
        init, out_shardings=shardings, compiler_options=compilation.for_one_run()
    )
    return Init(state, shardings, make)


def abstract_item(pipeline) -> PyTree:
    """The shapes and dtypes of an item of a whole batch; reads one of its rows."""
    item = next(pipeline.items(slice(0, 1)))
    return jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(
            (pipeline.batch_size, *array.shape[1:]), array.dtype
        ),
        item,
    )


def make_train_step(
    experiment: Experiment, mesh: Mesh, shardings: TrainState, *, log_every: int
) -> Callable[..., tuple[TrainState, Report]]:
    """`(state, resident, items, wishes) -> (state, report)`, jitted.

    `items` [K,B,…] holds the items of K steps, which run in one dispatch; each K is
    compiled once.  The sums start anew every `log_every` steps.  The state is donated.
    """
    transform, weight = experiment.optimizer.transform, experiment.average
    fetch = experiment.train.fetch
    gradient = _make_gradient(experiment, mesh)

    def one_step(resident, state: TrainState, item) -> tuple[TrainState, tuple]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        fetch_key, loss_key = jax.random.split(key)
        batch = fetch(resident, item, fetch_key)
        batch = jax.lax.with_sharding_constraint(batch, over_batch(mesh))
        (loss, (model_state, sums)), gradients = gradient(
            state.params, state.model_state, batch, loss_key
        )
        # Where a parameter is split, so is its gradient: summed and scattered at once.
        gradients = jax.lax.with_sharding_constraint(gradients, shardings.params)
        updates, opt_state = transform.update(gradients, state.opt_state, state.params)
        fresh = state.step % log_every == 0
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            key=state.key,
            sums=jax.tree.map(
                lambda old, new: jnp.where(fresh, 0, old) + new, state.sums, sums
            ),
        )
        if weight is not None:
            newest = {"params": new.params, "model_state": new.model_state}
            new = new._replace(
                average=_average(state.average, newest, weight(state.step))
            )
        bad = ~jnp.isfinite(loss)
        if _is_guarded(experiment):
            new, bad = _guard(experiment, state, new, loss, gradients, fresh)
        return new, (jnp.where(bad, state.step, NEVER), loss)

    def train_step(state, resident, items, wishes=None):
        num_steps = len(jax.tree.leaves(items)[0])
        if num_steps == 1:  # spares the compiler a loop
            item = jax.tree.map(lambda array: array[0], items)
            state, (bad_step, bad_loss) = one_step(resident, state, item)
        else:
            state, (bad_steps, losses) = jax.lax.scan(
                lambda state, item: one_step(resident, state, item), state, items
            )
            bad_step, bad_loss = jnp.min(bad_steps), losses[jnp.argmin(bad_steps)]
        return state, Report(
            sums=state.sums,
            bad_step=jnp.where(bad_step == NEVER, -1, bad_step),
            bad_loss=bad_loss,
            skipped=None if state.guard is None else state.guard["skipped"],
            wish=None if wishes is None else jnp.max(wishes),
        )

    return onednn.jit(
        train_step, donate_argnums=0, out_shardings=(shardings, replicated(mesh))
    )


NEVER = np.int32(np.iinfo(np.int32).max)


def _make_gradient(experiment: Experiment, mesh: Mesh) -> Callable[..., Any]:
    """`jax.value_and_grad` of the loss, over the batch or over its parts in turn.

    Each part has as many examples of every device, and the mean of their gradients is
    the gradient of the batch, if the loss is a mean over examples.
    """
    gradient = jax.value_and_grad(
        make_loss(experiment.model, experiment.task), has_aux=True
    )
    parts = experiment.accumulate
    if parts == 1:
        return gradient

    def split(array):  # every parts-th row, so that no row changes its device
        rows = array.reshape(-1, parts, *array.shape[1:])
        return jnp.moveaxis(rows, 1, 0)

    def accumulated(params, model_state, batch, key):
        def add(carry, part):
            (loss, (model_state, sums)), gradients = carry
            number, batch = part
            batch = jax.lax.with_sharding_constraint(batch, over_batch(mesh))
            (more, (model_state, more_sums)), more_gradients = gradient(
                params, model_state, batch, jax.random.fold_in(key, number)
            )
            sums, gradients = jax.tree.map(
                jnp.add, (sums, gradients), (more_sums, more_gradients)
            )
            return ((loss + more, (model_state, sums)), gradients), None

        batches = jax.tree.map(split, batch)
        first = jax.tree.map(lambda array: array[0], batches)
        shapes = jax.eval_shape(gradient, params, model_state, first, key)
        (loss, (_, sums)), gradients = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes
        )
        start = ((loss, (model_state, sums)), gradients)
        ((loss, aux), gradients), _ = jax.lax.scan(
            add, start, (jnp.arange(parts), batches)
        )
        gradients = jax.tree.map(lambda total: total / parts, gradients)
        return (loss / parts, aux), gradients

    return accumulated


def _average(average: PyTree, newest: PyTree, weight: Array) -> PyTree:
    def move(old, new):
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return old + weight.astype(old.dtype) * (new - old)

    return jax.tree.map(move, average, newest)


def _is_guarded(experiment: Experiment) -> bool:
    return experiment.on_bad_loss == "skip" or experiment.spike is not None


def _first_guard() -> PyTree:
    return {
        "loss": jnp.zeros((), jnp.float32),
        "steps": jnp.zeros((), jnp.int32),
        "skipped": jnp.zeros((), jnp.int32),
    }


_MEMORY = 0.98
"""Of the running mean of the loss, a mean over the last 50 steps or so."""
_SETTLING = 10
"""Steps before anything can be called a spike."""


def _guard(
    experiment: Experiment,
    old: TrainState,
    new: TrainState,
    loss: Array,
    gradients: PyTree,
    fresh: Array,
) -> tuple[TrainState, Array]:
    """Whether the step was bad, and the state after it: `old` if such are skipped."""
    guard = old.guard
    bad = ~jnp.isfinite(loss) | ~jnp.isfinite(optax.tree.norm(gradients))
    if experiment.spike is not None:
        # The mean starts at zero: its weights so far add up to this.
        filled = 1 - _MEMORY ** guard["steps"].astype(jnp.float32)
        settled = guard["steps"] >= _SETTLING
        limit = experiment.spike * guard["loss"] / jnp.maximum(filled, 1e-6)
        bad |= settled & (loss > limit)
    moved = _MEMORY * guard["loss"] + (1 - _MEMORY) * loss
    new = new._replace(
        guard={
            "loss": jnp.where(bad, guard["loss"], moved),
            "steps": guard["steps"] + ~bad,
            "skipped": guard["skipped"] + bad,
        }
    )
    if experiment.on_bad_loss == "skip":
        emptied = jax.tree.map(lambda sums: jnp.where(fresh, 0, sums), old.sums)
        kept = old._replace(step=new.step, guard=new.guard, sums=emptied)
        new = jax.tree.map(lambda old, new: jnp.where(bad, old, new), kept, new)
    return new, bad


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)
