"""The functions that run on the devices: initialise, and train for some steps."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxvision import onednn
from jaxvision.engine import compilation
from jaxvision.engine.forward import in_training
from jaxvision.engine.sharding import over_batch, replicated, shard_state
from jaxvision.engine.state import Totals, TrainState, parted
from jaxvision.errors import check
from jaxvision.paths import named_leaves, path_name
from jaxvision.types import Array, Experiment, Model, PyTree, Task, Variables


class Report(NamedTuple):
    """What the host may want to know of a dispatch, apart from the state.

    The state is donated to the next dispatch, so this is a copy that stays readable.
    """

    sums: Totals
    """What the next row of the log is made of."""
    bad_step: Array
    """int32: the first step whose loss was not finite, or a spike, or that left
    parameters that are not finite; or -1.  Where a bad step ends the run, parameters
    are looked at after the dispatch, and this may then be its last step."""
    bad_loss: Array
    """float32: its loss; that of a dispatch of one step, bad or not."""
    sound: Array
    """bool: whether the parameters after it are finite."""
    skipped: Array | None
    """int32: steps of the run that had no effect, where bad ones are skipped."""
    request: Array | None
    """int32: the strongest request of all processes, see `signals`; None for a single
    process, which need not ask."""


class Constants(NamedTuple):
    """What lies on the devices for good and is the same in every step."""

    resident: PyTree
    """The pipeline's arrays."""
    frozen: PyTree
    """The task's, see `Task.frozen`."""

    @classmethod
    def of(cls, experiment: Experiment) -> "Constants":
        """Those of an experiment, on the host; may take long the first time."""
        return cls(experiment.train.resident(), experiment.task.frozen())


def quotient(total: PyTree, weight: PyTree) -> Array:
    """`total / weight`, or the sum of such quotients; 0 where nothing was weighed.

    The weight is a constant to the gradient.
    """

    def divide(total, weight):
        weight = jax.lax.stop_gradient(jnp.asarray(weight, total.dtype))
        return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), 0)

    terms = jax.tree.leaves(jax.tree.map(divide, total, weight))
    return functools.reduce(jnp.add, terms)


class Init(NamedTuple):
    """How a run begins."""

    state: TrainState
    """Its shapes, dtypes and shardings."""
    shardings: TrainState
    """Where each array lies."""
    make: Callable[[], TrainState]
    """Makes the state, each device its own part."""


def make_init(experiment: Experiment, mesh: Mesh, constants: Constants) -> Init:
    """What is before the first step.  `constants` may be abstract."""
    model, task, optimizer = experiment.model, experiment.task, experiment.optimizer
    item = abstract_item(experiment.train)

    def init(constants: Constants, initial: Variables) -> TrainState:
        init_key, key = _keys_of_run(experiment)
        fetch = experiment.train.fetch
        shapes = jax.eval_shape(fetch, constants.resident, item, key)
        variables = _first_variables(experiment, shapes, init_key, initial)
        params, model_state = parted(variables)
        average = None
        if experiment.average is not None:
            average = _copy({"params": params, "model_state": model_state})
        step = jnp.zeros((), jnp.int32)
        loss = _make_terms(model, task)
        _, (_, sums) = jax.eval_shape(
            loss, params, model_state, average, step, constants.frozen, shapes, key
        )
        return TrainState(
            step=step,
            params=params,
            model_state=model_state,
            opt_state=optimizer.transform.init(params),
            key=jax.random.key_data(key),
            sums=Totals(
                task=jax.tree.map(jnp.zeros_like, sums),
                gradient_norm=jnp.zeros((), jnp.float32),
                steps=jnp.zeros((), jnp.int32),
            ),
            average=average,
            guard=_first_guard() if _is_guarded(experiment) else None,
        )

    state = jax.eval_shape(init, constants, {})
    shardings = shard_state(mesh, state, experiment.sharding)
    state = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        state,
        shardings,
    )
    compiled = jax.jit(
        functools.partial(init, _abstract(constants)),
        out_shardings=shardings,
        compiler_options=compilation.for_one_run(),
    )

    def make() -> TrainState:
        initial = {} if experiment.initial is None else experiment.initial()
        return compiled(initial)

    return Init(state, shardings, make)


def variable_shapes(
    experiment: Experiment, initial: Variables | None = None
) -> Variables:
    """The shapes of the variables that a run begins with, where `initial` are given.

    Data are read only if their pipeline does not say what is stored.  Raises the error
    of a run for what does not fit.
    """
    train, key = experiment.train, jax.random.key(0)

    def batch():
        with contextlib.suppress(KeyError):  # items may carry more than what is stored
            if train.stored is not None:
                return jax.eval_shape(train.transform, key, train.stored())
        return jax.eval_shape(train.fetch, train.resident(), abstract_item(train), key)

    return jax.eval_shape(
        functools.partial(_first_variables, experiment, batch()), key, initial or {}
    )


def _first_variables(
    experiment: Experiment, batch: PyTree, key: Array, initial: Variables
) -> Variables:
    """Those drawn for a batch of these shapes, but for the ones that are given."""
    inputs = jax.tree.map(
        lambda x: jnp.zeros((1, *x.shape[1:]), x.dtype),
        jax.eval_shape(experiment.task.inputs, batch),
    )
    variables = _merged(experiment.model.init(key, *inputs), initial)
    if experiment.param_dtype is None:
        return variables
    params = jax.tree.map(
        lambda x: x.astype(experiment.param_dtype), variables["params"]
    )
    return {**variables, "params": params}


def _abstract(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _merged(variables: Variables, initial: Variables) -> Variables:
    """`variables`, those in `initial` replaced.  Raises one `UsageError` for all that
    do not fit."""
    ours, given = named_leaves(variables), named_leaves(initial)
    wrong = [
        f"the initial weights have {path}, and the model has no such array"
        for path in given
        if path not in ours
    ] + [
        f"the initial {path} is {np.shape(leaf)}, and the model's is "
        f"{ours[path].shape}: leave it out, or create the model to fit"
        for path, leaf in given.items()
        if path in ours and ours[path].shape != np.shape(leaf)
    ]
    if len(wrong) > LISTED:
        wrong[LISTED:] = [f"… and {len(wrong) - LISTED} more arrays that do not fit"]
    check(*((False, message) for message in wrong))

    def choose(path, leaf):
        name = path_name(path)
        return jnp.asarray(given[name], leaf.dtype) if name in given else leaf

    return jax.tree_util.tree_map_with_path(choose, variables)


LISTED = 10
"""Arrays that do not fit which an error names."""


def abstract_item(pipeline) -> PyTree:
    """The shapes and dtypes of an item of a whole batch; reads one of its rows."""
    item = next(pipeline.items(slice(0, 1)))
    return jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(
            (pipeline.batch_size, *array.shape[1:]), array.dtype
        ),
        item,
    )


def first_batches(
    experiment: Experiment, count: int
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """The batches of the first `count` training steps, on the host: as they were read,
    and as the model is given them, with the random draws of these steps."""
    train = experiment.train
    _, key = _keys_of_run(experiment)

    @jax.jit
    def fetch(resident, item, step):
        batch = train.gather(resident, item)
        fetch_key, _ = _keys_of(key, step)
        return batch, train.transform(fetch_key, batch)

    resident, items = train.resident(), train.items()
    for step in range(count):
        yield jax.tree.map(np.asarray, fetch(resident, next(items), jnp.int32(step)))


def _keys_of_run(experiment: Experiment) -> tuple[Array, Array]:
    """For the initial variables, and for all steps."""
    init_key, key = jax.random.split(jax.random.key(experiment.seed))
    return init_key, key


def _keys_of(key: Array, step: Array | int) -> tuple[Array, Array]:
    """Of a step: for its batch, and for its loss."""
    fetch_key, loss_key = jax.random.split(jax.random.fold_in(key, step))
    return fetch_key, loss_key


def make_train_step(
    experiment: Experiment, mesh: Mesh, shardings: TrainState, *, log_every: int
) -> Callable[..., tuple[TrainState, Report]]:
    """`(state, constants, items, requests) -> (state, report)`, jitted.

    `items` [K,B,…] holds the items of K steps, which run in one dispatch; each K is
    compiled once.  The sums start anew every `log_every` steps.  The state is donated.
    """
    transform, weight = experiment.optimizer.transform, experiment.average
    fetch = experiment.train.fetch
    gradient = _make_gradient(experiment, mesh)
    # Whether parameters are looked at after each step, to tell which one was bad, or
    # after each dispatch: a look takes an MLP a twelfth of its step.
    exact = _is_guarded(experiment) or experiment.on_bad_loss == "rollback"

    def one_step(
        constants: Constants, state: TrainState, item
    ) -> tuple[TrainState, tuple]:
        fetch_key, loss_key = _keys_of(jax.random.wrap_key_data(state.key), state.step)
        batch = fetch(constants.resident, item, fetch_key)
        batch = jax.lax.with_sharding_constraint(batch, over_batch(mesh))
        (loss, (model_state, sums)), gradients = gradient(
            state.params,
            state.model_state,
            state.average,
            state.step,
            constants.frozen,
            batch,
            loss_key,
        )
        # Where a parameter is split, so is its gradient: summed and scattered at once.
        gradients = jax.lax.with_sharding_constraint(gradients, shardings.params)
        # optax promotes types, also where its caller has forbidden it.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = transform.update(
                gradients, state.opt_state, state.params
            )
        norm = optax.tree.norm(optax.tree.cast(gradients, jnp.float32))
        totals = Totals(sums, norm, jnp.int32(1))
        fresh = state.step % log_every == 0
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            key=state.key,
            sums=jax.tree.map(
                lambda old, new: jnp.where(fresh, 0, old) + new, state.sums, totals
            ),
        )
        if weight is not None:
            newest = {"params": new.params, "model_state": new.model_state}
            new = new._replace(
                average=_average(state.average, newest, weight(state.step))
            )
        sound = _all_finite(new.params) if exact else jnp.bool_(True)
        bad = ~jnp.isfinite(loss) | ~sound
        if _is_guarded(experiment):
            new, bad = _guard(experiment, state, new, loss, bad, fresh)
        return new, (jnp.where(bad, state.step, NEVER), loss, sound)

    def train_step(state, constants, items, requests=None):
        num_steps = len(jax.tree.leaves(items)[0])
        if num_steps == 1:  # spares the compiler a loop
            item = jax.tree.map(lambda array: array[0], items)
            state, (bad_step, bad_loss, sound) = one_step(constants, state, item)
        else:
            state, steps = jax.lax.scan(
                lambda state, item: one_step(constants, state, item), state, items
            )
            none = jnp.min(steps[0]) == NEVER
            first = jnp.where(none, num_steps - 1, jnp.argmin(steps[0]))
            bad_step, bad_loss, sound = (values[first] for values in steps)
        if not exact:
            sound = _all_finite(state.params)
            hidden = ~sound & (bad_step == NEVER)
            bad_step = jnp.where(hidden, state.step - 1, bad_step)
        return state, Report(
            sums=state.sums,
            bad_step=jnp.where(bad_step == NEVER, -1, bad_step),
            bad_loss=bad_loss,
            sound=sound,
            skipped=None if state.guard is None else state.guard["skipped"],
            request=None if requests is None else jnp.max(requests),
        )

    return onednn.jit(
        train_step, donate_argnums=0, out_shardings=(shardings, replicated(mesh))
    )


NEVER = np.int32(np.iinfo(np.int32).max)


def _make_terms(model: Model, task: Task) -> Callable[..., tuple[tuple, tuple]]:
    """`(params, model_state, average, step, frozen, batch, key) ->`
    `((total, weight), (model_state, sums))`."""

    def terms(params, model_state, average, step, frozen, batch, key):
        model_key, task_key = jax.random.split(key)
        forward = in_training(
            model,
            params,
            model_state,
            average=average,
            step=step,
            frozen=frozen,
            key=model_key,
        )
        return task.loss(forward, batch, key=task_key)

    return terms


def _make_gradient(experiment: Experiment, mesh: Mesh) -> Callable[..., Any]:
    """`jax.value_and_grad` of the loss, over the batch or over its parts in turn."""
    terms = _make_terms(experiment.model, experiment.task)
    if experiment.accumulate > 1:
        return _accumulated(terms, experiment.accumulate, mesh)

    def loss(*arguments):
        (total, weight), aux = terms(*arguments)
        return quotient(total, weight), aux

    return jax.value_and_grad(loss, has_aux=True)


def _accumulated(terms: Callable[..., Any], parts: int, mesh: Mesh):
    """The loss of the whole batch and its gradient, in the memory of a part.

    The parts are gone through twice.  The first time for their weights, such as the
    number of pixels that count, whose sums are what the parts' totals are divided by.
    Most weights depend on no activation, and the compiler then leaves the network out.
    """

    def split(array):  # every parts-th row, so that no row changes its device
        rows = array.reshape(-1, parts, *array.shape[1:])
        return jnp.moveaxis(rows, 1, 0)

    def accumulated(params, model_state, average, step, frozen, batch, key):
        batches = (jnp.arange(parts), jax.tree.map(split, batch))

        def terms_of(params, model_state, part):
            number, batch = part
            batch = jax.lax.with_sharding_constraint(batch, over_batch(mesh))
            part_key = jax.random.fold_in(key, number)
            return terms(params, model_state, average, step, frozen, batch, part_key)

        def weigh(weights, part):
            (_, weight), _ = terms_of(params, model_state, part)
            return jax.tree.map(jnp.add, weights, weight), None

        def share(params, model_state, part):
            (total, _), aux = terms_of(params, model_state, part)
            return quotient(total, weights), aux

        gradient = jax.value_and_grad(share, has_aux=True)

        def add(carry, part):
            (loss, (model_state, sums)), gradients = carry
            (more, (model_state, more_sums)), more_gradients = gradient(
                params, model_state, part
            )
            sums, gradients = jax.tree.map(
                jnp.add, (sums, gradients), (more_sums, more_gradients)
            )
            return ((loss + more, (model_state, sums)), gradients), None

        first = jax.tree.map(lambda array: array[0], batches)
        (_, weights), _ = jax.eval_shape(terms_of, params, model_state, first)
        weights, _ = jax.lax.scan(weigh, _zeros(weights), batches)
        shapes = jax.eval_shape(gradient, params, model_state, first)
        (loss, (_, sums)), gradients = _zeros(shapes)
        start = ((loss, (model_state, sums)), gradients)
        result, _ = jax.lax.scan(add, start, batches)
        return result

    return accumulated


def _zeros(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _average(average: PyTree, newest: PyTree, weight: Array) -> PyTree:
    def move(old, new):
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return old + weight.astype(old.dtype) * (new - old)

    return jax.tree.map(move, average, newest)


def _all_finite(tree: PyTree) -> Array:
    """Whether every number is finite.

    The loss alone does not tell: XLA's `maximum(x, 0)` on CPU may turn NaN into 0, and
    so do networks that end in a rectifier and a mean (SqueezeNet).
    """
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, finite, jnp.bool_(True))


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
    bad: Array,
    fresh: Array,
) -> tuple[TrainState, Array]:
    """The state after a step, which is `old` if bad ones are skipped, and whether the
    step was bad: as it was found to be, or a spike."""
    guard = old.guard
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
            "steps": guard["steps"] + jnp.where(bad, 0, 1),
            "skipped": guard["skipped"] + jnp.where(bad, 1, 0),
        }
    )
    if experiment.on_bad_loss == "skip":
        emptied = jax.tree.map(lambda sums: jnp.where(fresh, 0, sums), old.sums)
        kept = old._replace(step=new.step, guard=new.guard, sums=emptied)
        new = jax.tree.map(lambda old, new: jnp.where(bad, old, new), kept, new)
    return new, bad


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)
