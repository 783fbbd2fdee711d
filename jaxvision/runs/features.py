"""Pipelines of features: what a network makes of each image, computed once and kept.

A linear layer on them is trained in a small part of the time that the whole network
would take, and is its linear probe.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxvision import data
from jaxvision.data import Source
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.state import of_variables
from jaxvision.types import Batch, Model, Pipeline, Task, Variables


def cached(
    model: Model,
    variables: Callable[[], Variables],
    source: Source,
    pipeline: Pipeline,
    batch_size: int,
    seed: int | None = None,
) -> Pipeline:
    """Batches of a source whose images are features float32 [B,1,1,D].

    They are the `pre_logits` of `model`, which need have no classes, with `variables()`
    for the images of `pipeline`, an evaluation of the source; what else is in a batch
    stays.  They are computed when the pipeline is first read, and lie in memory.

    With a seed batches are those of `data.train`, and else of `data.evaluation`.
    """

    @functools.cache
    def read() -> dict[str, np.ndarray]:
        return _computed(pipeline, model, variables())

    def stored() -> dict[str, Any]:
        assert pipeline.stored is not None
        batch = jax.eval_shape(pipeline.transform, jax.random.key(0), pipeline.stored())
        made = jax.eval_shape(functools.partial(_features, model), batch)
        return {
            name: jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), array.dtype)
            for name, array in made.items()
        }

    kept = source._replace(read=read, encoded=None, maps=None, image_shape=(1, 1, 1))
    if seed is None:
        made = data.evaluation(kept, batch_size, transform=_as_they_are)
    else:
        made = data.train(kept, batch_size, transform=_as_they_are, seed=seed)
    return made._replace(stored=stored, preparation=None)


def _as_they_are(key, batch: Batch) -> Batch:
    del key
    return batch


def _features(model: Model, batch: Batch) -> Batch:
    """What a drawn network makes of a batch: its shapes are those of any."""
    images = batch["image"]
    outputs, _ = model.apply(model.init(jax.random.key(0), images), images)
    return _in_place(batch, outputs)


def _in_place(batch: Batch, outputs) -> dict[str, Any]:
    kept = {name: array for name, array in batch.items() if name != "mask"}
    return kept | {"image": outputs["pre_logits"][:, None, None]}


def _computed(
    pipeline: Pipeline, model: Model, variables: Variables
) -> dict[str, np.ndarray]:
    """The batches of one pass, with features for images, by name [N,…]."""
    found: dict[str, np.ndarray] = {}

    def update(forward, batch, *, keys):
        del keys
        outputs, _ = forward(batch["image"])
        return {}, _in_place(batch, outputs)

    def compute(sums, rows):
        del sums
        found.update({name: np.array(array) for name, array in rows.items()})
        return {}

    task = Task(
        loss=lambda *_, **__: ((0.0, 0.0), ({}, {})),
        update=update,
        compute=compute,
        measures=(),
        predict=lambda *_, **__: {},
    )
    mesh = sharding.make_mesh()
    evaluator = Evaluator(model, task, pipeline, mesh, frozen={}, seed=0)
    evaluator(sharding.place_resident(mesh, of_variables(variables)))
    return found
