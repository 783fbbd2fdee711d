"""Where in a map a class is seen: class activation maps by gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.explain.opened import opened
from jaxvision.explain.scores import Forward
from jaxvision.types import Array, Outputs


def grad_cam(
    forward: Forward, score: Callable[[Outputs], Array], name: str, images: Array
) -> Array:
    """Where the map `name` holds what raises the score, [B,h,w], not below 0.

    The channels are added with their mean gradients as weights.

    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391

    Args:
      forward: `images -> named activations`.
      score: `outputs -> [B]`, such as `lambda outputs: scores.score_of(outputs, 7)`.
      name: an activation [B,h,w,D].

    Raises `UsageError` for an activation that is none or no map, or that the score does
    not depend on.
    """
    maps, gradients = _maps_and_gradients(forward, score, name, images)
    weights = gradients.mean((1, 2), keepdims=True)
    return jax.nn.relu((weights * maps).sum(-1))


def grad_cam_plus_plus(
    forward: Forward, score: Callable[[Outputs], Array], name: str, images: Array
) -> Array:
    """The same, where each place has a weight of its own, so that several things of one
    class are all seen.  Arguments and errors are those of `grad_cam`.

    Chattopadhyay et al. 2018, https://arxiv.org/abs/1710.11063, equations 10, 11 and 19
    for the exponential of the score, whose derivatives are powers of the gradient.
    """
    maps, gradients = _maps_and_gradients(forward, score, name, images)
    squares, cubes = gradients**2, gradients**3
    below = 2 * squares + (maps * cubes).sum((1, 2), keepdims=True)
    shares = jnp.where(below == 0, 0, squares / jnp.where(below == 0, 1, below))
    weights = (shares * jax.nn.relu(gradients)).sum((1, 2), keepdims=True)
    return jax.nn.relu((weights * maps).sum(-1))


def _maps_and_gradients(forward, score, name, images) -> tuple[Array, Array]:
    cut = opened(forward, score, name, images)
    maps = cut.shown(cut.value)
    check(
        (
            maps.ndim == 4,
            f"the activation {name} is {list(maps.shape[1:])} for each image and no "
            "map [h,w,D]: choose another",
        )
    )
    gradients = jax.grad(lambda value: cut.rest(value).sum())(cut.value)
    return maps, cut.shown(gradients)
