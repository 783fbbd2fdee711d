"""Networks with an energy: what they remember are the states where it is low.

States are -1 and 1 for Hopfield's, and 0 and 1 for Boltzmann's.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.measures import Measure
from jaxvision.types import Array
from jaxvision.visualise.neuron_diagram import layered, ring

from .parts import (
    ACCURACY,
    Digits,
    Learned,
    Network,
    accuracy,
    one_of_each,
    tiles,
    weights,
)

FLIPPED = 0.25
"""Share of the pixels of a pattern that are disturbed before it is recalled."""
COARSE = 2
"""Pixels to a side of a unit of the Boltzmann machine."""


# Hopfield's network.


def hebbian(patterns: Array) -> Array:
    """Weights [N,N] of patterns [P,N]: how often two units agree (Hopfield 1982)."""
    units = patterns.shape[1]
    return (patterns.T @ patterns / units) * (1 - jnp.eye(units))


def projection(patterns: Array) -> Array:
    """Weights [N,N] that keep each of linearly independent patterns [P,N] as it is,
    however alike they are (Personnaz et al. 1986), without those to oneself."""
    units = patterns.shape[1]
    return (jnp.linalg.pinv(patterns) @ patterns) * (1 - jnp.eye(units))


def energy(couplings: Array, state: Array) -> Array:
    """`-½ Σ w_ij s_i s_j` of states [N]."""
    return -0.5 * state @ couplings @ state


def recall(couplings: Array, state: Array, key: Array, *, sweeps: int = 5):
    """One unit after the other takes the sign of what it hears, in random order.

    Returns the state [N] at the end and the energies [sweeps · N].
    """
    units = len(state)
    order = jax.random.permutation(key, jnp.tile(jnp.arange(units), sweeps))

    def update(carry, i):
        state, level = carry
        heard = couplings[i] @ state
        new = jnp.where(heard == 0, state[i], jnp.sign(heard))
        level = level - (new - state[i]) * heard
        return (state.at[i].set(new), level), level

    start = state, energy(couplings, state)
    (state, _), levels = jax.lax.scan(update, start, order)
    return state, levels


def hopfield(digits: Digits) -> Learned:
    chosen = one_of_each(digits.labels, digits.classes)
    flat = digits.images[chosen].reshape(len(chosen), -1)
    patterns = jnp.where(jnp.asarray(flat) > 0.5, 1.0, -1.0)
    keys = jax.random.split(jax.random.key(digits.seed), (len(chosen), 20))

    def disturbed(pattern, key):
        flips = jax.random.bernoulli(key, FLIPPED, pattern.shape)
        return jnp.where(flips, -pattern, pattern)

    @jax.jit
    def recalled(couplings, patterns, keys):
        def once(pattern, key):
            first, second = jax.random.split(key)
            start = disturbed(pattern, first)
            return start, recall(couplings, start, second)[0]

        several = jax.vmap(once, (None, 0))
        return jax.lax.map(lambda each: several(*each), (patterns, keys))

    numbers = {}
    for name, rule in (("recalled", projection), ("recalled_by_hebb", hebbian)):
        seen, found = recalled(rule(patterns), patterns, keys)
        right = (found == patterns[:, None]).all(-1)
        numbers[name] = float(right.mean())
        if name == "recalled":
            shown = jnp.concatenate([seen[:, 0], found[:, 0]])
    picture = tiles((shown.reshape(-1, *digits.shape) + 1) / 2, digits.classes)
    return Learned(numbers, picture, flat.shape[1] * (flat.shape[1] - 1) // 2)


# Boltzmann machines whose units are all connected.


class Machine(NamedTuple):
    """Symmetric weights [N,N] without those to oneself, and biases [N]."""

    couplings: Array
    biases: Array


def gibbs(machine: Machine, states: Array, units: Array, key: Array) -> Array:
    """States [B,N] after each of `units` was drawn given all others, in their order."""
    draws = jax.random.uniform(key, (len(units), len(states)))

    def draw(states, each):
        i, uniform = each
        share = jax.nn.sigmoid(states @ machine.couplings[i] + machine.biases[i])
        return states.at[:, i].set((uniform < share).astype(states.dtype)), None

    return jax.lax.scan(draw, states, (units, draws))[0]


def learn_machine(
    key: Array, visible: Array, hidden: int, *, steps: int, chains: int = 100
) -> Machine:
    """From states [D,V] of the visible units, by persistent chains (Tieleman 2008).

    What is learned is how often two units are on together, in the data and in the
    chains, of which there are as many as examples in a step.
    """
    examples, seen = visible.shape
    units = seen + hidden
    everyone, unseen = jnp.arange(units), jnp.arange(seen, units)
    first, second, third = jax.random.split(key, 3)
    share = jnp.clip(visible.mean(0), 0.02, 0.98)
    noise = 0.05 * jax.random.normal(first, (units, units))
    couplings = jnp.triu(noise, 1) + jnp.triu(noise, 1).T
    biases = jnp.concatenate([jnp.log(share / (1 - share)), jnp.zeros(hidden)])
    fantasies = jax.random.bernoulli(second, 0.3, (chains, units)).astype(jnp.float32)

    def step(carry, each):
        machine, fantasies = carry
        key, number = each
        keys = jax.random.split(key, 5)
        rows = jax.random.randint(keys[0], (chains,), 0, examples)
        guess = jax.random.bernoulli(keys[1], 0.5, (chains, hidden))
        data = jnp.concatenate([visible[rows], guess.astype(jnp.float32)], axis=1)
        for k in keys[2:4]:
            data = gibbs(machine, data, unseen, k)
        fantasies = gibbs(machine, fantasies, everyone, keys[4])
        rate = 0.05 * (1 - number / steps)
        together = (data.T @ data - fantasies.T @ fantasies) / chains
        together = together * (1 - jnp.eye(units))
        alone = data.mean(0) - fantasies.mean(0)
        couplings = machine.couplings * (1 - 1e-4) + rate * together
        return (Machine(couplings, machine.biases + rate * alone), fantasies), None

    numbers = jnp.arange(steps, dtype=jnp.float32)
    start = Machine(couplings, biases), fantasies
    (machine, _), _ = jax.lax.scan(
        step, start, (jax.random.split(third, steps), numbers)
    )
    return machine


def boltzmann(digits: Digits) -> Learned:
    """Pixels, classes and hidden units, each connected with all others."""
    classes, hidden = digits.classes, 40

    def coarse(images):
        side = images.shape[1] // COARSE
        blocks = images.reshape(len(images), side, COARSE, side, COARSE)
        return (blocks.mean((2, 4)) > 0.35).astype(np.float32).reshape(len(images), -1)

    pixels = coarse(digits.images)
    seen = pixels.shape[1]
    visible = jnp.asarray(np.concatenate([pixels, np.eye(classes)[digits.labels]], 1))
    train = jax.jit(
        functools.partial(learn_machine, hidden=hidden, steps=digits.steps(2000))
    )
    machine = train(jax.random.key(digits.seed), visible.astype(jnp.float32))

    @jax.jit
    def sampled(machine, states, units, key):
        """How often each unit is on, in the last of 60 sweeps."""

        def sweep(states, key):
            states = gibbs(machine, states, units, key)
            return states, states

        _, path = jax.lax.scan(sweep, states, jax.random.split(key, 60))
        return path[20:].mean(0)

    units = seen + classes + hidden
    test = coarse(digits.test_images)
    states = jnp.zeros((len(test), units)).at[:, :seen].set(test)
    unknown = jnp.arange(seen, units)
    means = sampled(machine, states, unknown, jax.random.key(1))
    answers = means[:, seen : seen + classes].argmax(1)

    # Dreams of each class: all but the class is free.
    labels = jnp.arange(classes).repeat(3)
    states = jnp.zeros((len(labels), units))
    states = states.at[jnp.arange(len(labels)), seen + labels].set(1)
    free = jnp.concatenate([jnp.arange(seen), jnp.arange(seen + classes, units)])
    dreams = sampled(machine, states, free, jax.random.key(2))
    side = digits.shape[0] // COARSE
    shown = dreams[:, :seen].reshape(classes, 3, side, side).swapaxes(0, 1)
    return Learned(
        accuracy(answers, digits.test_labels),
        tiles(shown.reshape(-1, side, side), classes),
        units * (units + 1) // 2,
    )


# Restricted ones, whose units are connected with those of the other layer alone.


class Restricted(NamedTuple):
    """Weights [V,H], and the biases of the visible and of the hidden units."""

    weights: Array
    visible: Array
    hidden: Array


def up(machine: Restricted, visible: Array) -> Array:
    """How probable each hidden unit [B,H] is to be on, given the visible ones [B,V]."""
    return jax.nn.sigmoid(visible @ machine.weights + machine.hidden[None])


def down(machine: Restricted, hidden: Array) -> Array:
    """The same of the visible units [B,V], given the hidden ones [B,H]."""
    return jax.nn.sigmoid(hidden @ machine.weights.T + machine.visible[None])


def free_energy(machine: Restricted, visible: Array) -> Array:
    """[B]: `-log Σ_h exp(-energy)`, by which states of the visible units compare."""
    heard = visible @ machine.weights + machine.hidden[None]
    return -visible @ machine.visible - jax.nn.softplus(heard).sum(-1)


def learn_restricted(
    key: Array, data: Array, hidden: int, *, steps: int, rate: float = 0.1
) -> Restricted:
    """From shares [D,V], by contrastive divergence of one step (Hinton 2002)."""
    examples, seen = data.shape
    batch = min(100, examples)
    first, second = jax.random.split(key)
    share = jnp.clip(data.mean(0), 0.01, 0.99)
    start = Restricted(
        0.01 * jax.random.normal(first, (seen, hidden)),
        jnp.log(share / (1 - share)),
        jnp.zeros(hidden),
    )

    def statistics(visible, hidden):
        return Restricted(visible.T @ hidden / batch, visible.mean(0), hidden.mean(0))

    def step(carry, each):
        machine, speed = carry
        key, number = each
        keys = jax.random.split(key)
        visible = data[jax.random.randint(keys[0], (batch,), 0, examples)]
        on = up(machine, visible)
        drawn = jax.random.bernoulli(keys[1], on).astype(jnp.float32)
        dreamt = down(machine, drawn)
        told = statistics(visible, on)
        found = statistics(dreamt, up(machine, dreamt))
        momentum = jnp.where(number < 0.1 * steps, 0.5, 0.9)
        slower = rate * (1 - number / steps)
        speed = jax.tree.map(
            lambda v, a, b: momentum * v + slower * (a - b), speed, told, found
        )
        machine = jax.tree.map(jnp.add, machine, speed)
        return (machine._replace(weights=machine.weights * (1 - 2e-5)), speed), None

    numbers = jnp.arange(steps, dtype=jnp.float32)
    carry = start, jax.tree.map(jnp.zeros_like, start)
    keys = jax.random.split(second, steps)
    return jax.lax.scan(step, carry, (keys, numbers))[0][0]


def with_class(data: Array, labels: Array, classes: int) -> Array:
    """[D, V + classes]: the visible units and those of the class."""
    return jnp.concatenate([data, jax.nn.one_hot(labels, classes)], axis=1)


def classified(machine: Restricted, data: Array, classes: int) -> Array:
    """The class [B] with the lowest free energy beside each of data [B,V]."""

    def of(k):
        labels = jnp.full(len(data), k)
        return free_energy(machine, with_class(data, labels, classes))

    return jax.vmap(of)(jnp.arange(classes)).argmin(0)


def dreamt(machine: Restricted, labels: Array, classes: int, key: Array, sweeps: int):
    """Visible units [B,V] without the class, after sweeps with the class held."""
    told = jax.nn.one_hot(labels, classes)
    seen = machine.visible.shape[0] - classes

    def sweep(visible, key):
        keys = jax.random.split(key)
        both = jnp.concatenate([visible, told], axis=1)
        on = jax.random.bernoulli(keys[0], up(machine, both)).astype(jnp.float32)
        share = down(machine, on)[:, :seen]
        return jax.random.bernoulli(keys[1], share).astype(jnp.float32), share

    start = jax.random.bernoulli(key, 0.5, (len(labels), seen)).astype(jnp.float32)
    _, shares = jax.lax.scan(sweep, start, jax.random.split(key, sweeps))
    return shares[-1]


def restricted(digits: Digits) -> Learned:
    flat = digits.images.reshape(len(digits.images), -1)
    both = with_class(jnp.asarray(flat), jnp.asarray(digits.labels), digits.classes)
    train = functools.partial(learn_restricted, hidden=200, steps=digits.steps(3000))
    machine = jax.jit(train)(jax.random.key(digits.seed), both)
    test = jnp.asarray(digits.test_images.reshape(len(digits.test_images), -1))
    answers = jax.jit(classified, static_argnums=2)(machine, test, digits.classes)
    pixels = machine.weights[: flat.shape[1]]
    busiest = jnp.argsort(-jnp.square(pixels).sum(0))[:30]
    return Learned(
        accuracy(answers, digits.test_labels),
        weights(pixels[:, busiest], digits.shape),
        sum(each.size for each in machine),
    )


def deep_belief(digits: Digits) -> Learned:
    """A machine of features, and upon it one of features and classes (Hinton 2006)."""
    keys = jax.random.split(jax.random.key(digits.seed), 3)
    steps, classes = digits.steps(2000), digits.classes
    flat = jnp.asarray(digits.images.reshape(len(digits.images), -1))
    train = jax.jit(learn_restricted, static_argnames=("hidden", "steps"))
    first = train(keys[0], flat, hidden=200, steps=steps)
    features = with_class(up(first, flat), jnp.asarray(digits.labels), classes)
    second = train(keys[1], features, hidden=400, steps=steps)
    test = jnp.asarray(digits.test_images.reshape(len(digits.test_images), -1))
    answers = jax.jit(classified, static_argnums=2)(second, up(first, test), classes)
    labels = jnp.tile(jnp.arange(classes), 3)
    make = jax.jit(dreamt, static_argnums=(2, 4))
    shown = down(first, make(second, labels, classes, keys[2], 500))
    return Learned(
        accuracy(answers, digits.test_labels),
        tiles(shown.reshape(-1, *digits.shape), classes),
        sum(each.size for machine in (first, second) for each in machine),
    )


HOPFIELD = Network(
    "Hopfield network",
    "Every pixel is a unit that hears all others. One digit of each class is stored; "
    f"above are these with {FLIPPED:.0%} of the pixels flipped, below what the network "
    "makes of them. The numbers are how many are recalled without a mistake, by "
    "weights that project upon the patterns, and by Hebb's, which want patterns that "
    "are unlike each other.",
    "Hopfield 1982; Personnaz et al. 1986",
    ring(*(6 * ["backfed input"])),
    [
        Measure("recalled", "%", "higher", 1),
        Measure("recalled_by_hebb", "%", "higher", 1),
    ],
    hopfield,
)
BOLTZMANN = Network(
    "Boltzmann machine",
    "Units that are on by chance, all connected: coarse pixels, classes, and hidden "
    "ones. It tells the class of given pixels (the number), and dreams of given "
    "classes (the picture).",
    "Ackley, Hinton and Sejnowski 1985",
    ring(*(3 * ["backfed input"]), *(3 * ["probabilistic hidden"])),
    [ACCURACY],
    boltzmann,
)
RESTRICTED = Network(
    "Restricted Boltzmann machine",
    "The same without connections inside a layer, so that all units of one are drawn "
    "at once. The class is that with the lowest free energy; the picture shows "
    "what hidden units look for.",
    "Smolensky 1986; Hinton 2002; Larochelle and Bengio 2008",
    layered(4 * ["backfed input"], 3 * ["probabilistic hidden"]),
    [ACCURACY],
    restricted,
)
DEEP_BELIEF = Network(
    "Deep belief network",
    "Two restricted machines, one upon the other, learned one after the other. The "
    "picture shows what the upper one dreams of when the class is held.",
    "Hinton, Osindero and Teh 2006",
    layered(
        4 * ["backfed input"],
        3 * ["probabilistic hidden"],
        4 * ["probabilistic hidden"],
        2 * ["match input output"],
    ),
    [ACCURACY],
    deep_belief,
)
