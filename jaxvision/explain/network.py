"""A trained network as explanations look at it: its input and its activations."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import onednn, tasks
from jaxvision.errors import UsageError
from jaxvision.explain.attention import attention_rollout
from jaxvision.explain.opened import opened
from jaxvision.explain.scores import Forward
from jaxvision.runs import Predictor
from jaxvision.types import Array, Explained, Outputs, Part, Variables


class Network(NamedTuple):
    """What of a predictor is explained."""

    predictor: Predictor
    explained: Explained
    """What of its outputs can be explained."""
    variables: Variables
    """On the device."""
    black: Array
    """[H,W,C]: what the network takes for an image of black pixels."""
    white: Array
    """The same for white ones."""
    images: Callable[[Array | np.ndarray], Array]
    """What the network takes for images uint8 [B,S,T,C] as they were prepared."""
    outputs: Callable[[Variables, Array], Outputs]
    """`(variables, images) -> named activations`, compiled."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of the activations of one image, by name, in the order of their depth."""
    influences: dict[str, Callable[..., Array]]
    """The programs of `deepest` that were compiled so far, by the name of the map."""

    def forward(self, variables: Variables) -> Forward:
        """`images -> named activations`."""
        return lambda images: self.predictor.model.apply(variables, images)[0]

    def given(self, pixels: Array) -> Array:
        """Pixels [B,H,W,C] from 0 to 1 as the network takes them.

        Where black and white are the same, as in a border that is added, they count
        nothing.
        """
        return self.black[None] + pixels * (self.white - self.black)[None]

    def shares(self, images: Array) -> np.ndarray:
        """The inverse: pixels [B,H,W,C] from 0 to 1."""
        black, span = np.asarray(self.black), np.asarray(self.white - self.black)
        flat = np.abs(span) < 1e-6
        shares = (np.asarray(images) - black) / np.where(flat, 1, span)
        return np.clip(np.where(flat, 0, shares), 0, 1)

    def seen(self, images: Array) -> np.ndarray:
        """The same as bytes: uint8 [B,H,W,1 or 3]; what has other channels is drawn as
        their mean."""
        pixels = self.shares(images)
        if pixels.shape[-1] not in (1, 3):
            pixels = pixels.mean(-1, keepdims=True)
        return (255 * pixels).round().astype(np.uint8)

    def maps(self) -> list[str]:
        """The activations [h,w,D] of more than one place, by their depth."""
        return [
            name
            for name, shape in self.shapes.items()
            if len(shape) == 3
            and shape[0] * shape[1] > 1
            and not name.endswith("logits")
        ]

    def deepest(self, image: Array, part: Part) -> str | None:
        """The deepest map that the score of a part depends on, for this image; None:
        there is no map."""
        for candidate in reversed(self.maps()):
            if candidate not in self.influences:
                self.influences[candidate] = jax.jit(self._influence(candidate))
            influence = self.influences[candidate]
            if float(influence(self.variables, image, part)) > 0:
                return candidate
        return None

    def _influence(self, name: str) -> Callable[..., Array]:
        """`(variables, image, part) -> []`: the largest derivative of the score with
        respect to a map."""

        def influence(variables, image, part):
            try:
                cut = opened(
                    self.forward(variables),
                    lambda outputs: self.explained.score(outputs, part),
                    name,
                    image[None],
                )
            except UsageError:  # a map beside the way to the scores
                return jnp.zeros(())
            gradients = jax.grad(lambda value: cut.rest(value).sum())(cut.value)
            return jnp.abs(cut.shown(gradients)).max()

        return influence

    def has_rollout(self, image: Array) -> bool:
        """Whether the tokens of the network all look at each other."""
        try:
            jax.eval_shape(
                lambda variables, image: attention_rollout(
                    self.forward(variables), image[None]
                ),
                self.variables,
                image,
            )
        except UsageError:
            return False
        return True


def network(predictor: Predictor) -> Network:
    """The network of a predictor of images.

    A task that does not say what can be explained is taken for one of classes.
    """
    preparation = predictor.preparation
    shape = (1, *preparation.crop.size, preparation.channels)
    transformed = onednn.jit(_transformed(predictor))
    black, white = (
        transformed(jnp.full(shape, value, jnp.uint8))[0] for value in (0, 255)
    )
    variables = jax.device_put(predictor.variables)
    shapes: dict[str, tuple[int, ...]] = {}

    def outputs(variables, images):
        found, _ = predictor.model.apply(variables, images)
        # What leaves a traced function is sorted by name.
        shapes.update((name, value.shape[1:]) for name, value in found.items())

    jax.eval_shape(outputs, variables, black[None])
    forward = onednn.jit(
        lambda variables, x: dict(predictor.model.apply(variables, x)[0])
    )
    return Network(
        predictor,
        predictor.task.explained or tasks.scores_of_classes(jax.nn.softmax),
        variables,
        black,
        white,
        transformed,
        forward,
        shapes,
        {},
    )


def _transformed(predictor: Predictor) -> Callable[[Array], Array]:
    transform = predictor.preparation.transform

    def transformed(images: Array) -> Array:
        # Preparation for an evaluation draws nothing.
        return transform(jax.random.key(0), {"image": images})["image"]

    return transformed
