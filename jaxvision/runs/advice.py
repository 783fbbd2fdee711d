"""What a task wants to be known before it is trained: warnings, and no errors."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxvision.engine.step import first_batches, variable_shapes
from jaxvision.types import Experiment

EXAMPLES = 256
"""Training images that are looked at."""


def before_training(experiment: Experiment) -> Sequence[str]:
    """What `Task.advice` says of the first training images, as the model sees them."""
    task, train = experiment.task, experiment.train
    if task.advice is None:
        return ()
    count = max(min(EXAMPLES, train.num_examples) // train.batch_size, 1)
    batches: list[Any] = [seen for _, seen in first_batches(experiment, count)]

    def outputs(variables, batch):
        found, _ = experiment.model.apply(variables, *task.inputs(batch))
        return dict(found)

    shapes = jax.eval_shape(outputs, variable_shapes(experiment), batches[0])
    return task.advice(shapes, batches)
