"""Backpropagation as lectures write it, over a graph of neurons with Pred and Succ.

Neurons are nodes of an acyclic graph, in which connections may skip layers.  The
forward pass goes through them in topological order, the backward pass in the opposite:

    net_i = w_i0 + Σ_{j ∈ Pred(i)} w_ij a_j       a_i = f(net_i)
    δ_i = f'(net_i) · Σ_{j ∈ Succ(i)} w_ji δ_j    ∂e/∂w_ij = δ_i a_j

Its gradients are compared with those of `jax.grad` on random graphs, and a perceptron
of three hidden neurons learns by them what a single neuron cannot: exclusive or.

    python -m experiments.backprop_by_hand

`learning.png` shows what it says of each point of the square, as it learns.

Measured: gradients differ by 5e-8 of the largest, and 100 % of the patterns are
learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import visualise
from jaxvision.errors import check
from jaxvision.measures import Measure
from jaxvision.ops.activation import sigmoid
from jaxvision.runs import Study, study
from jaxvision.types import Array


@dataclass(frozen=True)
class Config:
    graphs: int = 20
    """Random graphs on which the gradients are compared."""
    neurons: int = 12
    """Of each of these."""
    steps: int = 3000
    """Of gradient descent on exclusive or."""
    learning_rate: float = 1.0
    """Of gradient descent."""
    seed: int = 1
    """Decides the graphs and the initial weights; from those of 0 it does not learn all
    four patterns."""


class Graph(NamedTuple):
    """An acyclic network: neuron i listens to `pred[i]`, all of them below i."""

    pred: Sequence[Sequence[int]]
    """Of the input neurons: none."""
    inputs: int
    """So many neurons come first."""
    outputs: int
    """So many come last."""

    def succ(self) -> list[list[int]]:
        """Who listens to each neuron."""
        listeners: list[list[int]] = [[] for _ in self.pred]
        for i, heard in enumerate(self.pred):
            for j in heard:
                listeners[j].append(i)
        return listeners


Weights = Mapping[tuple[int, int], Array]
"""`w[i, j]`, of the connection from j to i; `w[i, BIAS]` of the bias."""

BIAS = -1


def initial(graph: Graph, key: Array) -> dict[tuple[int, int], Array]:
    """Weights drawn from a normal distribution."""
    connections = [
        (i, j)
        for i, heard in enumerate(graph.pred)
        if i >= graph.inputs
        for j in (BIAS, *heard)
    ]
    drawn = jax.random.normal(key, (len(connections),))
    return {connection: drawn[k] for k, connection in enumerate(connections)}


def forward(graph: Graph, weights: Weights, x: Array) -> list[Array]:
    """The activation of every neuron, for a pattern x of as many numbers as inputs."""
    a = [x[i] for i in range(graph.inputs)]
    for i in range(graph.inputs, len(graph.pred)):
        net = weights[i, BIAS]
        for j in graph.pred[i]:
            net = net + weights[i, j] * a[j]
        a.append(sigmoid(net))
    return a


def output(graph: Graph, weights: Weights, x: Array) -> Array:
    """The activations of the output neurons."""
    return jnp.stack(forward(graph, weights, x)[-graph.outputs :])


def error(graph: Graph, weights: Weights, x: Array, t: Array) -> Array:
    """`½ · |y(x) - t|²` of one pattern."""
    return 0.5 * jnp.sum((output(graph, weights, x) - t) ** 2)


def backward(
    graph: Graph, weights: Weights, x: Array, t: Array
) -> dict[tuple[int, int], Array]:
    """`∂e/∂w` of every weight, by hand."""
    a, succ = forward(graph, weights, x), graph.succ()
    count = len(graph.pred)
    delta: dict[int, Array] = {}
    for i in reversed(range(graph.inputs, count)):
        sensitivity = jnp.zeros(())
        if i >= count - graph.outputs:
            sensitivity = a[i] - t[i - (count - graph.outputs)]
        for j in succ[i]:
            sensitivity = sensitivity + weights[j, i] * delta[j]
        delta[i] = a[i] * (1 - a[i]) * sensitivity  # f' of the logistic function
    return {(i, j): delta[i] * (1.0 if j == BIAS else a[j]) for i, j in weights}


def random_graph(neurons: int, draw: np.random.Generator) -> Graph:
    """Three inputs, two outputs, and every possible connection with probability ½.

    Outputs may listen to each other, and neurons may be listened to by nobody.
    """
    pred: list[list[int]] = [[], [], []]
    for i in range(3, neurons):
        heard = [j for j in range(i) if draw.random() < 0.5]
        pred.append(heard or [int(draw.integers(i))])
    return Graph(pred, 3, 2)


XOR = Graph([[], [], [0, 1], [0, 1], [0, 1], [0, 1, 2, 3, 4]], 2, 1)
"""Two inputs, three hidden neurons, and an output that listens to all: two of its
connections skip the hidden layer."""
PATTERNS = (
    np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32),
    np.array([[0], [1], [1], [0]], np.float32),
)


def largest_difference(config: Config) -> float:
    """Between the gradients by hand and by JAX, relative to the largest of a graph."""
    draw = np.random.default_rng(config.seed)
    worst = 0.0
    for number in range(config.graphs):
        graph = random_graph(config.neurons, draw)
        weights = initial(graph, jax.random.key(number))
        x = jnp.asarray(draw.standard_normal(3), jnp.float32)
        t = jnp.asarray(draw.random(2), jnp.float32)
        ours = backward(graph, weights, x, t)
        theirs = jax.grad(lambda w, g=graph, x=x, t=t: error(g, w, x, t))(weights)
        a, b = (np.array([float(g[key]) for key in weights]) for g in (ours, theirs))
        worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
    return worst


def learn(config: Config):
    """Errors [steps] and the weights after each step, by learning by epoch."""
    rule = optax.sgd(config.learning_rate)
    weights = initial(XOR, jax.random.key(config.seed))
    x, t = (jnp.asarray(each) for each in PATTERNS)

    def step(carry, _):
        weights, state = carry
        each = jax.vmap(lambda x, t: backward(XOR, weights, x, t))(x, t)
        gradient = jax.tree.map(lambda g: g.sum(0), each)
        change, state = rule.update(gradient, state, weights)
        total = jax.vmap(lambda x, t: error(XOR, weights, x, t))(x, t).sum()
        return (optax.apply_updates(weights, change), state), (total, weights)

    start = weights, rule.init(weights)
    _, (errors, path) = jax.jit(
        lambda start: jax.lax.scan(step, start, length=config.steps)
    )(start)
    return np.asarray(errors), path


def examine(config: Config) -> Study:
    check(
        (config.graphs > 0, f"--graphs must be positive, got {config.graphs}"),
        (config.neurons >= 6, f"--neurons must be at least 6, got {config.neurons}"),
        (config.steps > 0, f"--steps must be positive, got {config.steps}"),
    )
    errors, path = learn(config)
    grid = np.linspace(0, 1, 64, dtype=np.float32)
    square = jnp.asarray(np.stack(np.meshgrid(grid, grid[::-1]), -1).reshape(-1, 2))

    @jax.jit
    def says(weights):
        return jax.vmap(lambda x: output(XOR, weights, x))(square).reshape(64, 64, 1)

    shares = np.array([0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1])
    moments = np.unique((shares * (config.steps - 1)).astype(int))
    shown = {
        f"step {n:,}: error {errors[n]:.3f}": (
            255 * np.asarray(says(jax.tree.map(lambda w, n=n: w[n], path)))
        )
        .round()
        .astype(np.uint8)
        for n in moments
    }
    last = jax.tree.map(lambda w: w[-1], path)
    answers = jax.vmap(lambda x: output(XOR, last, x))(jnp.asarray(PATTERNS[0]))
    right = float(((np.asarray(answers) > 0.5) == PATTERNS[1]).mean())
    return Study(
        "exclusive or",
        [
            Measure("accuracy", "%", "higher", 0),
            Measure("error", "", "lower", 4),
            Measure("gradient_difference", "", "lower", 8),
        ],
        {
            "accuracy": right,
            "error": float(errors[-1]),
            "gradient_difference": largest_difference(config),
        },
        {
            "learning.png": visualise.comparison(
                {words: [image] for words, image in shown.items()},
                ("",),
                title="Exclusive or of x and y: white is 1, the origin bottom left",
            )
        },
        parameters=len(last),
    )


SMOKE: dict = dict(graphs=2, neurons=6, steps=20)

if __name__ == "__main__":
    study(examine, Config, smoke=SMOKE)
