"""Networks that say which digit it is, and learn it by gradient."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from sklearn.cluster import MiniBatchKMeans

from jaxvision import models, tasks, visualise
from jaxvision.models.radial_basis import RadialBasis
from jaxvision.models.recurrent import Recurrent
from jaxvision.runs import Trained
from jaxvision.types import Model
from jaxvision.visualise.neuron_diagram import layered

from .parts import (
    ACCURACY,
    Digits,
    Learned,
    Network,
    by_gradient,
    one_of_each,
    tiles,
    weights,
)

Draw = Callable[[Digits, Model, Trained], np.ndarray]


def classifier(
    make: Callable[[int], Model], draw: Draw, *, steps: int = 700, **training
) -> Callable[[Digits], Learned]:
    """What learns the classes by the model that `make` returns for their number."""

    def learn(digits: Digits) -> Learned:
        model = make(digits.classes)
        task = tasks.classification(digits.classes)
        done = by_gradient(digits, model, task, steps=steps, **training)
        numbers = {"accuracy": done.metrics["accuracy"]}
        return Learned(numbers, draw(digits, model, done), done.parameters)

    return learn


def first_weights(digits: Digits, model: Model, done: Trained) -> np.ndarray:
    """What the first units look for."""
    kernel = done.variables["params"]["Dense_0"]["kernel"]
    return weights(kernel[:, :30], digits.shape)


def mistakes(digits: Digits, model: Model, done: Trained) -> np.ndarray:
    """Test digits that it gets wrong, the surest first."""
    outputs, _ = model.apply(done.variables, jnp.asarray(digits.test_images))
    shares = np.asarray(jax.nn.softmax(outputs["logits"]))
    wrong = shares.argmax(1) != digits.test_labels
    surest = np.argsort(-np.where(wrong, shares.max(1), 0))[:30]
    return tiles(digits.test_images[surest])


def feature_maps(digits: Digits, model: Model, done: Trained) -> np.ndarray:
    """The first named map of eight channels, for one digit of each class."""
    chosen = one_of_each(digits.test_labels, digits.classes)
    outputs, _ = model.apply(done.variables, jnp.asarray(digits.test_images[chosen]))
    maps = np.asarray(next(iter(outputs.values())))[..., :8]
    side = digits.shape[0] // maps.shape[1]
    large = maps.repeat(side, 1).repeat(side, 2)
    large = large / np.maximum(large.max((1, 2), keepdims=True), 1e-6)
    columns = np.concatenate([digits.test_images[chosen], large], axis=-1)
    return tiles(np.moveaxis(columns, -1, 0).reshape(-1, *columns.shape[1:3]))


def beliefs(digits: Digits, model: Model, done: Trained) -> np.ndarray:
    """Digits, and beside each row of theirs how probable each class is after it."""
    chosen = one_of_each(digits.test_labels, digits.classes)
    outputs, _ = model.apply(done.variables, jnp.asarray(digits.test_images[chosen]))
    shares = np.asarray(jax.nn.softmax(outputs["logits_by_row"]))  # [K,H,classes]
    drawn = []
    for image, share in zip(digits.test_images[chosen], shares, strict=True):
        pair = [255 * np.repeat(image, 3, 2)]
        heat = matplotlib.colormaps["viridis"](share.repeat(2, 1))[..., :3]
        pair += [np.full((len(image), 1, 3), 255), 255 * heat]
        drawn.append(np.concatenate(pair, axis=1).round().astype(np.uint8))
    return visualise.sheet([each.repeat(2, 0).repeat(2, 1) for each in drawn], 5, gap=4)


def radial_basis(digits: Digits) -> Learned:
    """Centres begin where k-means puts them."""
    count = min(200, len(digits.images) // 2)
    model = models.from_linen(RadialBasis(count, digits.classes, width=0.15))
    flat = digits.images.reshape(len(digits.images), -1)
    means = MiniBatchKMeans(count, n_init=1, random_state=digits.seed).fit(flat)
    initial = {"params": {"centres": means.cluster_centers_.astype(np.float32)}}
    task = tasks.classification(digits.classes)
    done = by_gradient(
        digits, model, task, steps=1000, rate=2e-2, initial=lambda: initial
    )
    centres = done.variables["params"]["centres"][:30]
    picture = tiles(centres.reshape(-1, *digits.shape))
    return Learned({"accuracy": done.metrics["accuracy"]}, picture, done.parameters)


def _recurrent(cell: str) -> Callable[[Digits], Learned]:
    def make(classes: int) -> Model:
        return models.from_linen(Recurrent(cell, num_classes=classes))

    return classifier(make, beliefs, rate=5e-3)


def _by_name(name: str, **options) -> Callable[[int], Model]:
    return lambda classes: models.create(name, num_classes=classes, **options)


_READS = (
    "It reads the digit row by row; beside each row is how probable it then holds the "
    "classes 0 to 9 to be, from left to right."
)
_GATES = layered(
    3 * ["input"], 3 * ["gated memory"], 3 * ["gated memory"], 3 * ["output"]
)
_KERNELS = layered(
    5 * ["input"],
    5 * ["kernel"],
    4 * ["convolution or pool"],
    3 * ["hidden"],
    3 * ["output"],
    reach=1.6,
)
_measured = functools.partial(Network, measures=[ACCURACY])

PERCEPTRON = _measured(
    title="Perceptron",
    words="One weighted sum of the pixels for each class. The picture shows the "
    "weights: red pixels speak for the class, blue ones against it.",
    source="Rosenblatt 1958",
    diagram=layered(2 * ["input"], ["output"]),
    learn=classifier(_by_name("perceptron"), first_weights, rate=1e-2),
)
FEED_FORWARD = _measured(
    title="Feed forward",
    words="A hidden layer of 64 units between the pixels and the classes. The picture "
    "shows what some of these look for.",
    source="Rumelhart, Hinton and Williams 1986",
    diagram=layered(2 * ["input"], 2 * ["hidden"], ["output"]),
    learn=classifier(_by_name("mlp", hidden=(64,)), first_weights),
)
RADIAL_BASIS = _measured(
    title="Radial basis network",
    words="Hidden units say how near the image is to a centre of their own, and the "
    "classes are sums of that. The picture shows centres, which begin at k-means.",
    source="Broomhead and Lowe 1988",
    diagram=layered(2 * ["input"], 2 * ["hidden"], ["output"]),
    learn=radial_basis,
)
DEEP_FEED_FORWARD = _measured(
    title="Deep feed forward",
    words="Two hidden layers, of 300 and 100 units. The picture shows the test digits "
    "that it gets wrong, the surest mistakes first.",
    source="LeCun et al. 1998",
    diagram=layered(3 * ["input"], 4 * ["hidden"], 4 * ["hidden"], 2 * ["output"]),
    learn=classifier(_by_name("mlp"), mistakes),
)
RNN = _measured(
    title="Recurrent network",
    words=f"Units that hear their own last activation. {_READS}",
    source="Elman 1990",
    diagram=layered(
        3 * ["input"], 3 * ["recurrent"], 3 * ["recurrent"], 3 * ["output"]
    ),
    learn=_recurrent("rnn"),
)
LSTM = _measured(
    title="Long short-term memory",
    words=f"Cells that keep a number, with gates that write, read and forget. {_READS}",
    source="Hochreiter and Schmidhuber 1997",
    diagram=layered(3 * ["input"], 3 * ["memory"], 3 * ["memory"], 3 * ["output"]),
    learn=_recurrent("lstm"),
)
GRU = _measured(
    title="Gated recurrent unit",
    words=f"Two gates, and no cell beside the activation. {_READS}",
    source="Cho et al. 2014",
    diagram=_GATES,
    learn=_recurrent("gru"),
)
DEEP_CONVOLUTIONAL = _measured(
    title="Deep convolutional network",
    words="Kernels that look at every place alike, with pooling after each layer. The "
    "picture shows digits, and below each the maps of the first eight kernels.",
    source="LeCun et al. 1998",
    diagram=_KERNELS,
    learn=classifier(_by_name("convnet", features=(8, 16), hidden=64), feature_maps),
)
DEEP_RESIDUAL = _measured(
    title="Deep residual network",
    words="Each block adds to what it was given, so that the signal has a way past all "
    "layers. The picture shows digits, and below each the maps after the stem.",
    source="He et al. 2016",
    diagram=layered(
        3 * ["input"],
        *(4 * [3 * ["hidden"]]),
        3 * ["output"],
        skips=True,
    ),
    learn=classifier(
        _by_name("resnet20", blocks=1, width=8), feature_maps, steps=500, rate=1e-2
    ),
)
