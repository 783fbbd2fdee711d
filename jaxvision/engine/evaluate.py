"""Exact evaluation: every example counts once, whatever the batch and the devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxvision import onednn
from jaxvision.engine.sharding import (
    EvaluationItems,
    place_resident,
    replicated,
    to_host,
)
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import abstract_item
from jaxvision.types import Model, ModelState, Pipeline, PyTree, Task


def make_evaluate(
    model: Model,
    task: Task,
    pipeline: Pipeline,
    resident: PyTree,
    mesh: Mesh,
    beat: Callable[[], None] = lambda: None,
) -> Callable[[PyTree, ModelState], dict[str, Any]]:
    """`(params, model_state) -> {"accuracy": …}` over one pass of the pipeline.

    `resident` are the pipeline's arrays, on the devices; `beat` is called for every
    batch.
    """
    batch_sums = _make_batch_sums(model, task, pipeline)

    def add(sums, *arguments):
        return jax.tree.map(jnp.add, sums, batch_sums(*arguments))

    add = onednn.jit(add, donate_argnums=0, out_shardings=replicated(mesh))

    def evaluate(params, model_state):
        sums = None
        for item in EvaluationItems(mesh, pipeline):
            arguments = (params, model_state, resident, item)
            if sums is None:
                shapes = jax.eval_shape(batch_sums, *arguments)
                sums = place_resident(mesh, _filled(0, shapes))
            sums = add(sums, *arguments)
            beat()
        return task.metrics.compute(to_host(sums))

    return evaluate


def average_too(
    evaluate: Callable[[PyTree, ModelState], dict[str, Any]],
) -> Callable[[TrainState], dict[str, Any]]:
    """`state -> metrics`, with those of the averaged parameters as `average/…`."""

    def evaluate_state(state):
        metrics = evaluate(state.params, state.model_state)
        if state.average is not None:
            average = state.average
            of_average = evaluate(average["params"], average["model_state"])
            metrics |= {f"average/{name}": v for name, v in of_average.items()}
        return metrics

    return evaluate_state


def metric_names(
    model: Model, task: Task, pipeline: Pipeline, resident: PyTree, state: TrainState
) -> list[str]:
    """The names of the metrics of an evaluation, without computing or compiling it."""
    batch_sums = _make_batch_sums(model, task, pipeline)

    def names(params, model_state):
        item = abstract_item(pipeline)
        shapes = jax.eval_shape(batch_sums, params, model_state, resident, item)
        return dict(task.metrics.compute(_filled(1, shapes)))

    return list(average_too(names)(state))


def predict(
    model: Model,
    task: Task,
    pipeline: Pipeline,
    resident: PyTree,
    mesh: Mesh,
    params: PyTree,
    model_state: ModelState,
) -> dict[str, np.ndarray]:
    """`task.predict` for every example of the pipeline, in order, on the host."""

    def predict_batch(params, model_state, resident, item):
        forward = _forward(model, params, model_state)
        batch = pipeline.fetch(resident, item, jax.random.key(0))
        return task.predict(forward, batch), item["mask"]

    predict_batch = onednn.jit(predict_batch, out_shardings=replicated(mesh))
    batches = []
    for item in EvaluationItems(mesh, pipeline):
        batch, mask = to_host(predict_batch(params, model_state, resident, item))
        batches.append({name: array[mask] for name, array in batch.items()})
    return {k: np.concatenate([batch[k] for batch in batches]) for k in batches[0]}


def _make_batch_sums(model: Model, task: Task, pipeline: Pipeline):
    def batch_sums(params, model_state, resident, item):
        forward = _forward(model, params, model_state)
        # No random draws in evaluation; a transform may still ask for a key.
        batch = pipeline.fetch(resident, item, jax.random.key(0))
        return task.metrics.update(forward, batch)

    return batch_sums


def _filled(value: int, shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), shapes)


def _forward(model: Model, params: PyTree, model_state: ModelState):
    def forward(images, *, state=None):
        variables = {"params": params, **(model_state if state is None else state)}
        return model.apply(variables, images, train=False)

    return forward
