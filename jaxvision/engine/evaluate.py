"""Exact evaluation: every example counts once, whatever the batch and the devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxvision.engine.sharding import place_item, replicated
from jaxvision.types import Model, ModelState, Pipeline, PyTree, Task


def make_evaluate(
    model: Model, task: Task, pipeline: Pipeline, resident: PyTree, mesh: Mesh
) -> Callable[[PyTree, ModelState], dict[str, Any]]:
    """`(params, model_state) -> {"accuracy": …}` over one pass of the pipeline.

    `resident` are the pipeline's arrays, on the devices.
    """
    batch_sums = _make_batch_sums(model, task, pipeline)

    def add(sums, *arguments):
        return jax.tree.map(jnp.add, sums, batch_sums(*arguments))

    add = jax.jit(add, donate_argnums=0, out_shardings=replicated(mesh))

    def evaluate(params, model_state):
        sums = None
        for item in pipeline.items():
            arguments = (params, model_state, resident, place_item(mesh, item))
            if sums is None:
                shapes = jax.eval_shape(batch_sums, *arguments)
                sums = jax.device_put(_filled(0, shapes), replicated(mesh))
            sums = add(sums, *arguments)
        return task.metrics.compute(jax.device_get(sums))

    return evaluate


def metric_names(
    model: Model,
    task: Task,
    pipeline: Pipeline,
    resident: PyTree,
    params: PyTree,
    model_state: ModelState,
) -> list[str]:
    """The names of the metrics of an evaluation, without computing or compiling it."""
    batch_sums = _make_batch_sums(model, task, pipeline)
    item = next(iter(pipeline.items()))
    shapes = jax.eval_shape(batch_sums, params, model_state, resident, item)
    return list(task.metrics.compute(_filled(1, shapes)))


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

    @jax.jit
    def predict_batch(params, model_state, resident, item):
        forward = _forward(model, params, model_state)
        return task.predict(forward, pipeline.fetch(resident, item, jax.random.key(0)))

    batches = []
    for item in pipeline.items():
        batch = predict_batch(params, model_state, resident, place_item(mesh, item))
        mask = item["mask"]
        batches.append({k: np.asarray(v)[: len(mask)][mask] for k, v in batch.items()})
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
