"""Prediction as one function of arrays: what is exported, and what is served."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import onednn
from jaxvision.data.feed.preparation import Picture, Preparation
from jaxvision.engine.evaluate import example_keys
from jaxvision.engine.forward import in_evaluation
from jaxvision.errors import check, unknown
from jaxvision.runs.finished import Predictor
from jaxvision.types import Array, PyTree, Show, Variables


class Prediction(NamedTuple):
    """What predicts, and how pictures reach it and its predictions are shown."""

    call: Callable[..., Mapping[str, Array]]
    """`(variables, frozen, images, first) -> predictions`, pure: uint8 [B,S,T,C] as
    `preparation.images` makes them to arrays by name [B,…].  `first`, int32, is the
    place of the first image among all, by which tasks that draw have their keys."""
    variables: Variables
    frozen: PyTree
    preparation: Preparation
    classes: Sequence[str]
    show: Show | None

    def images(self, count: int) -> jax.ShapeDtypeStruct:
        """The shape and type of as many prepared images."""
        shape = (count, *self.preparation.crop.size, self.preparation.channels)
        return jax.ShapeDtypeStruct(shape, jnp.uint8)

    def predict(
        self, pictures: Sequence[Picture], *, batch_size: int = 32
    ) -> dict[str, np.ndarray]:
        """What is predicted of each picture, by name [N,…], as `Predictor.predict`."""
        check(
            (len(pictures) > 0, "there are no pictures: give one or more"),
            (batch_size >= 1, f"batch_size must be positive, got {batch_size}"),
        )
        program, parts = onednn.jit(self.call), []
        for first in range(0, len(pictures), batch_size):
            images = self.preparation.images(pictures[first : first + batch_size])
            found = program(
                self.variables, self.frozen, padded(images, batch_size), np.int32(first)
            )
            parts.append({k: np.asarray(v)[: len(images)] for k, v in found.items()})
        return {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }


def of(predictor: Predictor, activations: Sequence[str] = ()) -> Prediction:
    """The prediction of a run or a published network.

    `activations` of the network are returned beside what its task predicts, under their
    own names.
    """
    model, task = predictor.model, predictor.task

    def call(variables, frozen, images, first):
        keys = example_keys(0, first + jnp.arange(images.shape[0], dtype=jnp.int32))
        batch = predictor.preparation.transform(keys[0], {"image": images})
        rest = {name: value for name, value in variables.items() if name != "params"}
        forward = in_evaluation(
            model,
            variables["params"],
            rest,
            average=None,
            step=jnp.int32(0),
            frozen=frozen,
        )
        predictions = dict(task.predict(forward, batch, keys=keys))
        if activations:
            outputs, _ = forward(*task.inputs(batch))
            for name in activations:
                if name not in outputs:
                    raise unknown("activation", name, outputs)
                predictions[name] = outputs[name]
        return predictions

    return Prediction(
        call,
        predictor.variables,
        task.frozen(),
        predictor.preparation,
        tuple(predictor.classes),
        predictor.show,
    )


def padded(images: np.ndarray, count: int) -> np.ndarray:
    """The images, filled up to `count` by the last one, so that one program serves."""
    return np.concatenate([images, *[images[-1:]] * (count - len(images))])
