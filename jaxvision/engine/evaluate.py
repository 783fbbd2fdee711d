"""Exact evaluation in one pass: every example counts once, whatever the batch size and
the devices, and memory does not grow with the set.

Three things come out of a pass: sums, which the task turns into metrics; rows, kept of
every example for metrics that need all of them (`rows`); and a gallery of a few
examples with their predictions (`gallery`).
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxvision import onednn
from jaxvision.engine import gallery
from jaxvision.engine.forward import in_evaluation
from jaxvision.engine.rows import Rows
from jaxvision.engine.sharding import (
    EvaluationItems,
    place_resident,
    replicated,
    to_host,
)
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import Constants
from jaxvision.errors import check
from jaxvision.types import Array, Galleries, Model, Pipeline, PyTree, Sums, Task


class Evaluated(NamedTuple):
    """What one pass over a pipeline has found."""

    metrics: dict[str, Any]
    """Those of the averaged parameters are called `average/…`."""
    galleries: Galleries | None
    """By the parameters that are not averaged; None: not asked for."""


class Evaluator:
    """`evaluator(state) -> Evaluated`: measures a state on one pass of a pipeline.

    Random numbers of transforms and tasks depend on the seed and the example alone, so
    that two evaluations of the same parameters agree.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        pipeline: Pipeline,
        mesh: Mesh,
        *,
        frozen: PyTree,
        seed: int,
        beat: Callable[[], None] = lambda: None,
    ):
        """Places the pipeline's arrays on the devices; `frozen` are there already.

        `beat` is called for every batch.
        """
        self._task, self._pipeline, self._mesh = task, pipeline, mesh
        self._beat = beat
        resident = place_resident(mesh, pipeline.resident())
        self._constants = Constants(resident, frozen)
        self._measure = _make_measure(model, task, pipeline, seed)
        # Two programs, so that no metric depends on whether there are pictures.
        self._programs = {
            with_galleries: onednn.jit(
                functools.partial(self._measure_batch, with_galleries),
                donate_argnums=0,
                out_shardings=replicated(mesh),
            )
            for with_galleries in (False, True)
        }

    def __call__(self, state: TrainState, *, with_galleries: bool = False) -> Evaluated:
        """All processes call this; each gets all of it."""
        metrics: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            parts = self._gone_through(stack, state, with_galleries)
            for prefix, part in parts.items():
                found = measured(self._task.compute(part.sums(), part.rows.finish()))
                metrics |= {f"{prefix}{name}": value for name, value in found.items()}
        if not with_galleries:
            return Evaluated(metrics, None)
        return Evaluated(metrics, gallery.finish(to_host(parts[""].gallery)))

    def tuned(self, state: TrainState, *, average: bool = False) -> Task:
        """The task with what it chooses on this set (`Task.tuned`), by the parameters
        or by their average.  All processes call this; each gets the same."""
        if self._task.tuned is None:
            return self._task
        with contextlib.ExitStack() as stack:
            parts = self._gone_through(stack, state, False)
            part = parts["average/" if average else ""]
            return self._task.tuned(part.sums(), part.rows.finish())

    def _gone_through(
        self, stack: contextlib.ExitStack, state: TrainState, with_galleries: bool
    ) -> "dict[str, _Part]":
        """What one pass has found of each set of weights; rows live with `stack`."""
        program = self._programs[with_galleries]
        average = state.average
        parts = {"": _Part(_Weights(state.params, state.model_state, average))}
        if average is not None:
            weights = _Weights(average["params"], average["model_state"], average)
            parts["average/"] = _Part(weights)
        for part in parts.values():
            stack.enter_context(part.rows)
        for item in EvaluationItems(self._mesh, self._pipeline):
            for part in parts.values():
                arguments = (part.weights, state.step, self._constants, item)
                if part.gallery is None and with_galleries:
                    part.gallery = self._empty_gallery(*arguments)
                part.gallery, kept = program(part.gallery, *arguments)
                part.add(kept)
            self._beat()
        return parts

    def _empty_gallery(self, *arguments) -> PyTree:
        """Before the first batch, on the devices."""
        measure = functools.partial(self._measure, True)
        start = gallery.start(
            jax.eval_shape(measure, *arguments).entries,
            self._pipeline.num_examples,
            ranked=self._task.difficulty is not None,
        )
        return place_resident(self._mesh, start)

    def _measure_batch(self, with_galleries, shown, *arguments):
        found = self._measure(with_galleries, *arguments)
        if with_galleries:
            # On every device, since any device may hold an example that is chosen.
            shown = gallery.add(shown, found.entries, found.difficulty, *found.which)
        return shown, _Kept(found.sums, found.rows, found.which[1])


_REAL = (jnp.floating, jnp.integer, jnp.bool_)


def measured(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What `Task.compute` has returned, as Python's numbers and NumPy's 64-bit arrays,
    whatever array library they are from.

    Raises `UsageError` that names each metric that is no number.
    """
    arrays = {name: np.asarray(value) for name, value in metrics.items()}
    check(
        *(
            (
                any(jnp.issubdtype(array.dtype, kind) for kind in _REAL),
                f"the task's metric {name!r} must be a number or an array of numbers, "
                f"got {metrics[name]!r}",
            )
            for name, array in arrays.items()
        )
    )
    wide = {name: _widened(array) for name, array in arrays.items()}
    return {name: a if a.ndim else a.item() for name, a in wide.items()}


class _Part:
    """One set of weights under evaluation, and what was found of it so far."""

    def __init__(self, weights: "_Weights"):
        self.weights, self.rows = weights, Rows()
        self.gallery: PyTree = None
        self._sums: PyTree = None
        self._newest: _Kept | None = None

    def add(self, kept: "_Kept") -> None:
        """Fetches what the batch before has left, while this one is computed."""
        previous, self._newest = self._newest, kept
        self._absorb(previous)

    def sums(self) -> Sums:
        """Of all batches, in 64 bits: counts of pixels exceed 32."""
        self._absorb(self._newest)
        self._newest = None
        return self._sums

    def _absorb(self, kept: "_Kept | None") -> None:
        if kept is None:
            return
        sums, rows, mask = to_host(kept)
        sums = jax.tree.map(_widened, sums)
        self._sums = (
            sums if self._sums is None else jax.tree.map(np.add, self._sums, sums)
        )
        self.rows.add({name: array[mask] for name, array in rows.items()})


def _widened(array: np.ndarray) -> np.ndarray:
    kind = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64
    return array.astype(kind)


class _Weights(NamedTuple):
    """The parameters to measure, and the averaged ones that a task may ask for."""

    params: PyTree
    model_state: PyTree
    average: PyTree


class _Kept(NamedTuple):
    """What the host takes of a batch."""

    sums: PyTree
    rows: dict[str, Array]
    mask: Array


class _Found(NamedTuple):
    """What is found in a batch."""

    sums: PyTree
    rows: dict[str, Array]
    entries: PyTree
    """For the gallery; None without one."""
    difficulty: Array
    which: tuple[Array, Array]
    """The indices of the examples, and the mask of those that are no padding."""


EVALUATION = 0x65766100
"""Tells the keys of evaluations apart from those of training."""


def example_keys(seed: int, index: Array) -> Array:
    """A random key [B] for each example, by its place in the set, int32 [B]."""
    key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
    return jax.vmap(functools.partial(jax.random.fold_in, key))(index)


def _make_measure(
    model: Model, task: Task, pipeline: Pipeline, seed: int
) -> Callable[..., _Found]:
    """`(with_gallery, weights, step, constants, item) -> _Found`, under jit."""

    def measure(
        with_gallery: bool, weights: _Weights, step, constants: Constants, item
    ) -> _Found:
        item = dict(item)
        index = item.pop("example")
        keys = example_keys(seed, index)
        raw = pipeline.gather(constants.resident, item)
        # Most transforms of evaluations draw nothing.
        batch = pipeline.transform(keys[0], raw)
        forward = in_evaluation(
            model,
            weights.params,
            weights.model_state,
            average=weights.average,
            step=step,
            frozen=constants.frozen,
        )
        sums, rows = task.update(forward, batch, keys=keys)
        entries, difficulty = None, jnp.zeros(index.shape, jnp.float32)
        if with_gallery:
            predictions = task.predict(forward, batch, keys=keys)
            entries = {"example": raw, "input": batch, "prediction": dict(predictions)}
            if task.difficulty is not None:
                difficulty = task.difficulty(batch, predictions)
        return _Found(sums, dict(rows), entries, difficulty, (index, item["mask"]))

    return measure
