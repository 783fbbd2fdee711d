"""Convolution, bias and ReLU are a perceptron at every pixel.

A perceptron looks at two numbers of each pixel of a photograph, its red and its green,
so that what it sees is a point of a plane, and what it decides by a line.  What comes
out of the convolution is, but for the length of the kernel, the distance to that line;
the bias moves it, and ReLU keeps one side.  Bright pixels cannot be told from dark ones
without a bias, by a line through the origin.  Batch normalisation moves the points
instead, and then such a line selects nearly the same.

    python -m experiments.perceptron_per_pixel

`cloud.png` shows the points with their lines, `maps.png` the distances and what is
selected in the photograph, which is scikit-learn's.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_sample_image

from jaxvision import visualise
from jaxvision.measures import Measure
from jaxvision.ops import filters, normalisation
from jaxvision.ops.activation import relu
from jaxvision.runs import Study, study
from jaxvision.types import Array


@dataclass(frozen=True)
class Config:
    red: float = 1.0
    """Weight of a pixel's red."""
    green: float = 1.0
    """Weight of its green."""
    bias: float = -0.8
    """Added to the weighted sum, of values from 0 to 1."""
    points: int = 3000
    """Pixels that are drawn as points."""
    seed: int = 0
    """Decides which."""


def layer(images: Array, adjacency: np.ndarray, weights: Array, bias: Array):
    """`J + w₀` [B,H,W,O] of weights [A,C,O], and the signed distances to the planes."""
    bank = filters.kernel_bank(adjacency, weights)
    sums = filters.convolve(images, bank, border="edge") + bias[None, None, None]
    length = jnp.sqrt(jnp.square(weights).sum((0, 1)))
    return sums, sums / length[None, None, None]


def distances(patches: Array, weights: Array, bias: Array) -> Array:
    """The same [B,H,W,O] from the patches [B,H,W,A,C], by their nearest points of the
    plane and the side on which they are."""
    flat = patches.reshape(*patches.shape[:3], 1, -1)
    normals = jnp.moveaxis(weights, -1, 0).reshape(weights.shape[-1], -1)
    normals = normals[None, None, None]
    offset = (flat * normals).sum(-1) + bias[None, None, None]
    nearest = flat - (offset / jnp.square(normals).sum(-1))[..., None] * normals
    return jnp.sign(offset) * jnp.linalg.norm(flat - nearest, axis=-1)


def examine(config: Config) -> Study:
    photograph = load_sample_image("flower.jpg")
    colours = jnp.asarray(photograph[None, ..., :2] / np.float32(255))
    weights = jnp.array([[[config.red], [config.green]]], jnp.float32)
    bias = jnp.array([config.bias], jnp.float32)
    here = filters.box(1)

    sums, distance = layer(colours, here, weights, bias)
    without, _ = layer(colours, here, weights, 0 * bias)
    standard = normalisation.standardised(colours, axes=(0, 1, 2))
    normalised, _ = layer(standard, here, weights, 0 * bias)
    selected = {
        "with its bias": sums,
        "without a bias": without,
        "normalised, without a bias": normalised,
    }
    kept = {name: np.asarray(relu(x))[0, ..., 0] for name, x in selected.items()}
    chosen = {name: x > 0 for name, x in kept.items()}
    target = chosen["with its bias"]

    # The same holds of patches in 27 dimensions, where nothing can be drawn.
    box, key = filters.box(3), jax.random.key(config.seed)
    several = jax.random.normal(key, (9, 3, 4))
    biases = jnp.array([0.3, -0.3, 0.1, 0.0])
    small = jnp.asarray(photograph[None, ::4, ::4] / np.float32(255))
    _, by_convolution = layer(small, box, several, biases)
    around = filters.patches(small, box, border="edge")
    error = jnp.abs(by_convolution - distances(around, several, biases)).max()

    def overlap(name):
        return float((chosen[name] & target).sum() / (chosen[name] | target).sum())

    far = np.asarray(distance)[0, ..., :1]
    shown = {
        "photograph": photograph,
        "distance": _bytes(0.5 + 0.5 * far / np.abs(far).max()),
        **{name: _bytes(x[..., None] / x.max()) for name, x in kept.items()},
    }
    return Study(
        "scikit-learn's flower.jpg",
        [
            Measure("iou_normalised", "", "higher", 3),
            Measure("iou_without_bias", "", None, 3),
            Measure("selected", "%", None, 1),
            Measure("distance_error", "", "lower", 7),
        ],
        {
            "iou_normalised": overlap("normalised, without a bias"),
            "iou_without_bias": overlap("without a bias"),
            "selected": float(target.mean()),
            "distance_error": float(error),
        },
        {
            "maps.png": visualise.comparison(
                {"flower.jpg": [*shown.values()]},
                [*shown],
                title="What a perceptron at each pixel selects",
            ),
            "cloud.png": visualise.clouds(
                _clouds(config, np.asarray(colours)[0], np.asarray(standard)[0], target)
            ),
        },
    )


def _clouds(config: Config, colours, standard, target):
    """The pixels as points, and as normalisation moves them."""
    draw = np.random.default_rng(config.seed)
    rows = draw.choice(target.size, min(config.points, target.size), replace=False)
    inside = target.reshape(-1)[rows]

    def kinds(values):
        points = values.reshape(-1, 2)[rows]
        return {"selected": points[inside], "not selected": points[~inside]}

    a, b = config.red, config.green
    return {
        "pixels": visualise.Cloud(
            kinds(colours),
            {"with its bias": (a, b, config.bias), "without a bias": (a, b, 0.0)},
            "red",
            "green",
        ),
        "normalised": visualise.Cloud(
            kinds(standard), {"without a bias": (a, b, 0.0)}, "red", "green"
        ),
    }


def _bytes(shares: np.ndarray) -> np.ndarray:
    return (255 * np.clip(shares, 0, 1)).round().astype(np.uint8)


SMOKE: dict = dict(points=200)

if __name__ == "__main__":
    study(examine, Config, smoke=SMOKE)
