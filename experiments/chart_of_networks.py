"""The chart of neural networks: a small one of each kind learns the digits.

Fjodor van Veen's chart (2016, https://www.asimovinstitute.org/neural-network-zoo/) has
27 kinds of networks.  Here is one of each that is trained in seconds.  What learns by
gradient goes through the loop that trains every experiment; what counts, samples or
solves is a short pure function.

    python -m experiments.chart_of_networks                       (embedded digits)
    python -m experiments.chart_of_networks --only lstm,gru
    python -m experiments.chart_of_networks --dataset fashion_mnist

`chart.html` shows for each what it looks like, its number, and a picture of what it has
learned, which is also a PNG by itself.

Measured: the perceptron, the first of the chart, knows 91.5 % of the test digits of
mnist_5k.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jaxvision import visualise
from jaxvision.errors import check, unknown
from jaxvision.printing import make_console
from jaxvision.runs import Study, study
from jaxvision.visualise import neuron_diagram, page

from .chart import classifiers, coders, copying, energies, maps, reservoirs
from .chart.parts import Learned, Network, read

NETWORKS: Mapping[str, Network] = {
    "perceptron": classifiers.PERCEPTRON,
    "feed_forward": classifiers.FEED_FORWARD,
    "radial_basis": classifiers.RADIAL_BASIS,
    "deep_feed_forward": classifiers.DEEP_FEED_FORWARD,
    "rnn": classifiers.RNN,
    "lstm": classifiers.LSTM,
    "gru": classifiers.GRU,
    "autoencoder": coders.AUTOENCODER,
    "variational": coders.VARIATIONAL,
    "denoising": coders.DENOISING,
    "sparse": coders.SPARSE,
    "markov_chain": maps.MARKOV,
    "hopfield": energies.HOPFIELD,
    "boltzmann": energies.BOLTZMANN,
    "restricted_boltzmann": energies.RESTRICTED,
    "deep_belief": energies.DEEP_BELIEF,
    "deep_convolutional": classifiers.DEEP_CONVOLUTIONAL,
    "deconvolutional": coders.DECONVOLUTIONAL,
    "inverse_graphics": coders.INVERSE_GRAPHICS,
    "gan": coders.ADVERSARIES,
    "liquid_state": reservoirs.LIQUID_STATE,
    "extreme_learning": reservoirs.EXTREME_LEARNING,
    "echo_state": reservoirs.ECHO_STATE,
    "deep_residual": classifiers.DEEP_RESIDUAL,
    "kohonen": maps.KOHONEN,
    "support_vector": maps.SUPPORT_VECTORS,
    "neural_turing": copying.NEURAL_TURING,
}
"""In the order of the chart."""

Found = Mapping[str, tuple[Network, Learned]]
"""By the names of `NETWORKS`."""


@dataclass(frozen=True)
class Config:
    dataset: str = "mnist_5k"
    """`mnist_5k` (embedded), or any set of square grey images with classes."""
    only: str = ""
    """Names of networks with commas between them, such as `lstm,gru`.  Default: all."""
    effort: float = 1.0
    """Multiplies the steps of every training."""
    seed: int = 0
    """Decides all that is drawn."""


def chosen(only: str) -> dict[str, Network]:
    """The networks of these names, in the order of the chart; all for none.

    Raises `UsageError` for a name that is unknown.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in NETWORKS:
            raise unknown("network", name, NETWORKS)
    return {k: each for k, each in NETWORKS.items() if not names or k in names}


def body(found: Found, dataset: str) -> Iterable[page.Element]:
    """What the page shows."""
    yield page.element(
        "p",
        "After the chart of Fjodor van Veen (2016): a small network of each kind, "
        f"trained on {dataset}, and what it has learned. Numbers are those of test "
        "images.",
    )
    legend = neuron_diagram.legend()
    yield page.figures(page.figure(cell, kind) for cell, kind in legend)
    links = [
        (page.element("a", network.title, href=f"#{name}"), _number(network, learned))
        for name, (network, learned) in found.items()
    ]
    length = -(-len(links) // 2)  # three tables are wider than the page
    parts = [links[i : i + length] for i in range(0, len(links), length)]
    yield page.figures(page.table(part) for part in parts)
    for name, (network, learned) in found.items():
        yield page.element("h2", network.title, id=name)
        yield page.element(
            "p",
            page.element("b", _numbers(network, learned)),
            f". {network.words} {learned.parameters:,} numbers are learned. "
            f"({network.source})",
        )
        picture = visualise.encoded(learned.picture)
        diagram = neuron_diagram.neurons(network.diagram, network.title)
        seen = f"what the {network.title.lower()} has learned"
        yield page.figures([diagram, page.image(picture, seen)])


def _number(network: Network, learned: Learned, which: int = 0) -> str:
    """One of its numbers with its name: `accuracy 94.8 %`."""
    measure = network.measures[which]
    words = measure.words(learned.numbers[measure.name])
    return f"{measure.name.replace('_', ' ')} {words}"


def _numbers(network: Network, learned: Learned) -> str:
    count = len(network.measures)
    return ", ".join(_number(network, learned, which) for which in range(count))


def examine(config: Config) -> Study:
    networks = chosen(config.only)
    check((config.effort > 0, f"--effort must be positive, got {config.effort}"))
    digits = read(config.dataset, config.effort, config.seed)
    say = make_console().print
    found: dict[str, tuple[Network, Learned]] = {}
    for name, network in networks.items():
        started = time.perf_counter()
        learned = network.learn(digits)
        found[name] = network, learned
        seconds = time.perf_counter() - started
        say(f"{name}: {_numbers(network, learned)}  ({seconds:.1f} s)")
    title = "A chart of neural networks"
    html = page.text(title, body(found, config.dataset))
    return Study(
        config.dataset,
        [
            measure._replace(name=f"{name}_{measure.name}")
            for name, (network, _) in found.items()
            for measure in network.measures
        ],
        {
            f"{name}_{measure.name}": learned.numbers[measure.name]
            for name, (network, learned) in found.items()
            for measure in network.measures
        },
        {},
        {
            "chart.html": html.encode(),
            **{
                f"{name}.png": visualise.encoded(learned.picture)
                for name, (_, learned) in found.items()
            },
        },
        parameters=sum(learned.parameters for _, learned in found.values()),
    )


SMOKE: dict = dict(
    dataset="synthetic:28x28x1", only="perceptron,hopfield,kohonen", effort=0.01
)

if __name__ == "__main__":
    study(examine, Config, smoke=SMOKE)
