"""Gradient descent in a plane: rates too small, good, near the limit and beyond it.

The surface is a valley, `½·(x² + k·y²)`, or Rosenbrock's.  In the valley descent at a
constant rate converges below 2/k, and near it it zigzags across; momentum, Nesterov's,
RMSProp, Adam and Newton's method are shown beside it.  `trajectories.png` has the
paths, and `trajectories.gif` the same as an animation.

    python -m experiments.gradient_descent_2d
    python -m experiments.gradient_descent_2d --surface rosenbrock

Steps are counted until the value is a hundredth of that at the start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import visualise
from jaxvision.errors import check
from jaxvision.measures import Measure
from jaxvision.runs import Study, study
from jaxvision.types import Array


@dataclass(frozen=True)
class Config:
    surface: Literal["valley", "rosenbrock"] = "valley"
    """`½·(x² + k·y²)`, or `((1 - x)² + 100·(y - x²)²) / 100`."""
    steepness: float = 20.0
    """k: how much steeper the valley is across than along."""
    steps: int = 60
    """Steps of each path."""
    frames: int = 40
    """Pictures of the animation."""


class Surface(NamedTuple):
    height: Callable[[Array], Array]
    """`(x, y) -> height`, 0 at the lowest point."""
    start: tuple[float, float]
    window: tuple[float, float, float, float]
    """What is drawn: left, right, bottom and top."""
    limit: float
    """Rate beyond which descent does not converge, by the largest curvature."""


def surface(config: Config) -> Surface:
    k = config.steepness
    check(
        (k >= 1, f"--steepness must be at least 1, got {k}"),
        (config.steps > 0, f"--steps must be positive, got {config.steps}"),
        (config.frames > 0, f"--frames must be positive, got {config.frames}"),
    )
    if config.surface == "valley":
        return Surface(
            lambda w: 0.5 * (w[0] ** 2 + k * w[1] ** 2),
            (-4.0, 1.0),
            (-4.6, 1.6, -2.0, 2.0),
            2 / k,
        )

    def rosenbrock(w):
        return ((1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2) / 100

    start = (-1.2, 1.0)
    curvature = np.linalg.eigvalsh(jax.hessian(rosenbrock)(jnp.array(start))).max()
    return Surface(rosenbrock, start, (-1.8, 1.8, -0.8, 2.0), float(2 / curvature))


def newton(height: Callable[[Array], Array]) -> optax.GradientTransformation:
    """Steps to where a paraboloid like the surface here would be the lowest."""

    def update(gradient, state, params):
        return -jnp.linalg.solve(jax.hessian(height)(params), gradient), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def descend(
    height: Callable[[Array], Array],
    rule: optax.GradientTransformation,
    start: Array,
    steps: int,
) -> Array:
    """The points [steps + 1,2] of a path, the start among them."""

    def step(carry, _):
        point, state = carry
        with jax.numpy_dtype_promotion("standard"):  # optax promotes
            change, state = rule.update(jax.grad(height)(point), state, point)
        moved = optax.apply_updates(point, change)
        return (moved, state), moved

    _, path = jax.lax.scan(step, (start, rule.init(start)), length=steps)
    return jnp.concatenate([start[None], path])


def rules(found: Surface) -> dict[str, tuple[str, optax.GradientTransformation]]:
    """What each way is called, in words and by its rule."""
    limit = found.limit

    def constant(share):
        return f"rate {share * limit:.3g}", optax.sgd(share * limit)

    return {
        "too small": constant(0.03),
        "good": constant(0.6),
        "zigzag": constant(0.98),
        "divergent": constant(1.04),
        "momentum": (
            f"rate {0.3 * limit:.3g}, momentum 0.8",
            optax.sgd(0.3 * limit, momentum=0.8),
        ),
        "nesterov": (
            f"rate {0.3 * limit:.3g}, momentum 0.8",
            optax.sgd(0.3 * limit, momentum=0.8, nesterov=True),
        ),
        "rmsprop": ("rate 0.1", optax.rmsprop(0.1)),
        "adam": ("rate 0.3", optax.adam(0.3)),
        "newton": ("no rate: by the curvature", newton(found.height)),
    }


def examine(config: Config) -> Study:
    found = surface(config)
    start = jnp.array(found.start)
    every = rules(found)
    paths = {
        name: np.asarray(
            jax.jit(descend, static_argnums=(0, 1, 3))(
                found.height, rule, start, config.steps
            )
        )
        for name, (_, rule) in every.items()
    }
    enough = found.height(start) / 100
    reached = {
        name: _first(jax.vmap(found.height)(jnp.asarray(path)) <= enough)
        for name, path in paths.items()
    }
    left, right, bottom, top = found.window
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 160))
    heights = np.asarray(found.height(jnp.asarray(np.stack([x, y]), jnp.float32)))
    captions = {
        name: f"{words}; "
        + (_words(reached[name]) if reached[name] < config.steps else "not there")
        for name, (words, _) in every.items()
    }
    return Study(
        config.surface,
        [
            Measure(_key(name), "steps", "lower", 0)
            for name in sorted(reached, key=lambda name: name != "good")
        ],
        {_key(name): float(steps) for name, steps in reached.items()},
        {
            "trajectories.png": visualise.trajectories(
                paths, heights, found.window, captions=captions
            )
        },
        {
            "trajectories.gif": visualise.animated_trajectories(
                paths,
                heights,
                found.window,
                captions=captions,
                frames=config.frames,
            )
        },
    )


def _key(name: str) -> str:
    return f"{name.replace(' ', '_')}_steps"


def _words(steps: int) -> str:
    return f"{steps} step" + "s" * (steps != 1)


def _first(there: Array) -> int:
    """The first of [T] that holds, or how many steps there were."""
    return int(jnp.argmax(there)) if bool(there.any()) else len(there) - 1


SMOKE: dict = dict(steps=10, frames=2)

if __name__ == "__main__":
    study(examine, Config, smoke=SMOKE)
