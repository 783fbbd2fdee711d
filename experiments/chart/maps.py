"""What counts, what orders and what separates: a Markov chain, a map, a margin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.svm import SVC

from jaxvision.measures import Measure
from jaxvision.types import Array
from jaxvision.visualise.neuron_diagram import layered, ring

from .parts import ACCURACY, Digits, Learned, Network, accuracy, tiles


class Chain(NamedTuple):
    """Logarithms of how probable states are at first [S], and after another [S,S]."""

    first: np.ndarray
    after: np.ndarray


def transitions(states: np.ndarray, count: int) -> np.ndarray:
    """int [S,S]: how often the second state follows the first in sequences [N,T]."""
    found = np.zeros((count, count), int)
    np.add.at(found, (states[:, :-1].ravel(), states[:, 1:].ravel()), 1)
    return found


def chain(states: np.ndarray, count: int, *, prior: float = 0.1) -> Chain:
    """The most probable chain of sequences [N,T], each state counted `prior` times more
    than it was seen."""
    first = np.bincount(states[:, 0], minlength=count) + prior
    after = transitions(states, count) + prior
    return Chain(
        np.log(first / first.sum()), np.log(after / after.sum(1, keepdims=True))
    )


def likelihood(found: Chain, states: np.ndarray) -> np.ndarray:
    """The logarithm [N] of how probable sequences [N,T] are."""
    steps = found.after[states[:, :-1], states[:, 1:]]
    return found.first[states[:, 0]] + steps.sum(1)


def wandering(found: Chain, length: int, draw: np.random.Generator) -> np.ndarray:
    """A sequence [T] of the chain."""
    states = [draw.choice(len(found.first), p=np.exp(found.first))]
    for _ in range(length - 1):
        states.append(draw.choice(len(found.first), p=np.exp(found.after[states[-1]])))
    return np.array(states)


def markov(digits: Digits) -> Learned:
    """A state is one of 64 kinds of rows."""
    side = digits.shape[1]
    rows = digits.images.reshape(-1, side)
    kinds = MiniBatchKMeans(64, n_init=1, random_state=digits.seed).fit(rows)
    count = len(kinds.cluster_centers_)

    def states(images):
        return kinds.predict(images.reshape(-1, side)).reshape(len(images), -1)

    train, test = states(digits.images), states(digits.test_images)
    chains = [chain(train[digits.labels == k], count) for k in range(digits.classes)]
    answers = np.stack([likelihood(each, test) for each in chains]).argmax(0)
    draw = np.random.default_rng(digits.seed)
    paths = [wandering(each, train.shape[1], draw) for _ in range(3) for each in chains]
    return Learned(
        accuracy(answers, digits.test_labels),
        tiles(kinds.cluster_centers_[np.stack(paths)], digits.classes),
        len(chains) * count * (count + 1),
    )


def kohonen_map(
    key: Array, data: Array, side: int, *, steps: int, rate: float = 0.5
) -> Array:
    """Units [side, side, D] on a grid, of which neighbours are alike (Kohonen 1982).

    For each example, drawn from data [N,D], the nearest unit and those around it move
    towards it, ever less, and ever fewer of them.
    """
    first, second = jax.random.split(key)
    place = jnp.stack(
        jnp.meshgrid(jnp.arange(side), jnp.arange(side), indexing="ij"), -1
    )
    place = place.reshape(-1, 2).astype(jnp.float32)
    start = data.mean(0)[None] + 0.1 * jax.random.normal(
        first, (side * side, data.shape[1])
    )
    order = jax.random.randint(second, (steps,), 0, len(data))

    def step(units, each):
        row, number = each
        left = 1 - number / steps
        differences = data[row][None] - units
        nearest = place[jnp.square(differences).sum(1).argmin()]
        distance = jnp.square(place - nearest[None]).sum(1)
        width = 0.5 + 0.5 * side * jnp.square(left)
        pull = rate * left * jnp.exp(-distance / (2 * jnp.square(width)))
        return units + pull[:, None] * differences, None

    numbers = jnp.arange(steps, dtype=jnp.float32)
    units, _ = jax.lax.scan(step, start, (order, numbers))
    return units.reshape(side, side, -1)


def nearest_units(units: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The index [N] of the unit, of [U,D], that is nearest to each of data [N,D]."""
    return (np.square(units).sum(1)[None] - 2 * data @ units.T).argmin(1)


def kohonen(digits: Digits) -> Learned:
    flat, test = (
        each.reshape(len(each), -1) for each in (digits.images, digits.test_images)
    )
    side = 14
    train = jax.jit(kohonen_map, static_argnums=2, static_argnames="steps")
    key = jax.random.key(digits.seed)
    found = np.asarray(train(key, jnp.asarray(flat), side, steps=digits.steps(12_000)))
    units = found.reshape(side * side, -1)
    votes = np.zeros((len(units), digits.classes), int)
    np.add.at(votes, (nearest_units(units, flat), digits.labels), 1)
    answers = votes.argmax(1)[nearest_units(units, test)]
    picture = tiles(units.reshape(-1, *digits.shape), side, side=28)
    return Learned(accuracy(answers, digits.test_labels), picture, units.size)


def support_vectors(digits: Digits) -> Learned:
    flat, test = (
        each.reshape(len(each), -1) for each in (digits.images, digits.test_images)
    )
    machine = SVC(C=5.0, gamma="scale").fit(flat, digits.labels)
    strength = np.abs(machine.dual_coef_).sum(0)
    hardest = machine.support_[np.argsort(-strength)[:30]]
    kept = len(machine.support_)
    return Learned(
        {
            **accuracy(machine.predict(test), digits.test_labels),
            "support": kept / len(flat),
        },
        tiles(digits.images[hardest]),
        machine.dual_coef_.size + machine.intercept_.size,
    )


MARKOV = Network(
    "Markov chain",
    "A digit is a sequence of rows, each of one of 64 kinds, and each depends on the "
    "row before it alone. There is a chain for each class, and the likeliest tells the "
    "class; the picture shows digits that the chains wander through.",
    "Markov 1906",
    ring(*(6 * ["probabilistic hidden"])),
    [ACCURACY],
    markov,
)
KOHONEN = Network(
    "Kohonen network",
    "Units on a grid, of which neighbours learn together, so that alike digits come to "
    "lie side by side. The class is what most training digits of the nearest unit are.",
    "Kohonen 1982",
    layered(2 * ["input"], 4 * ["hidden"], 3 * ["hidden"]),
    [ACCURACY],
    kohonen,
)
SUPPORT_VECTORS = Network(
    "Support vector machine",
    "The widest margin between two classes, by the few digits that it leans on. The "
    "picture shows those with the largest weights: the hardest of the training set.",
    "Cortes and Vapnik 1995",
    layered(3 * ["input"], 3 * ["hidden"], 2 * ["hidden"], ["output"]),
    [ACCURACY, Measure("support", "%", "lower", 1)],
    support_vectors,
)
