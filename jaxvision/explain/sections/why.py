"""Why it says what it says: the maps of all methods, and how good each is."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import onednn, visualise
from jaxvision.explain.curves import deletion_curve, insertion_curve
from jaxvision.explain.methods import METHODS, Method, Setting
from jaxvision.explain.network import Network
from jaxvision.explain.scores import score_of
from jaxvision.explain.subject import Shown, Subject, captioned, heading
from jaxvision.types import Array
from jaxvision.visualise import page

NAME, TITLE = "why", "Why it says what it says"


def section(subject: Subject, images: Sequence[Shown]) -> Iterator[page.Element]:
    """The maps for each image, with the numbers that compare them."""
    net, layer = subject.net, subject.layer
    yield heading(TITLE, NAME)
    yield page.element(
        "p",
        "Bright places speak for the class. How well a map says what matters is "
        "measured: its pixels are inserted into an image without content, or deleted "
        "from the image, the brightest first, and the probability of the class is "
        "averaged on the way (Petsiuk 2018). A good map has much on insertion and "
        "little on deletion.",
    )
    there = {
        "": True,
        "map": layer is not None and layer in net.maps(),
        "attention": net.has_rollout(subject.image(images[0])),
    }
    methods = [method for method in METHODS.values() if there[method.needs]]
    programs = {method.title: _program(net, layer, method) for method in methods}
    curves = _curves(net)
    for shown in images:
        subject.tell(f"explaining {shown.name}")
        yield from _explanation(subject, shown, methods, programs, curves)


def _explanation(
    subject: Subject,
    shown: Shown,
    methods: Sequence[Method],
    programs: Mapping[str, Callable],
    curves: Callable,
) -> Iterator[page.Element]:
    net = subject.net
    classes = net.predictor.classes
    k, image = subject.explained(shown), subject.image(shown)
    picture = net.seen(image[None])[0]
    words = [f"explained: {classes[k]}"]
    if shown.label is not None:
        words.append(f"it is {classes[shown.label]}")
    figures = [
        captioned(
            page.image(visualise.encoded(visualise.enlarged(picture)), shown.name),
            _said(shown, classes),
            f"{'; '.join(words)}.",
        )
    ]
    rows = []
    for method in methods:
        arguments = (net.variables, image, np.int32(k), subject.key())
        relevance = np.asarray(programs[method.title](*arguments))
        figures.append(
            captioned(
                page.image(
                    visualise.encoded(visualise.heat_upon(picture, relevance)),
                    f"{method.title}: {_strongest_place(relevance)}",
                ),
                f"{method.title}.",
                method.says.format(layer=subject.layer),
            )
        )
        rows.append((method.title, *_goodness(curves, net, image, relevance, k)))
    chance = np.random.default_rng(subject.options.seed).random(picture.shape[:2])
    rows.append(("Pixels at random", *_goodness(curves, net, image, chance, k)))
    yield page.element("h3", shown.name)
    yield page.figures(figures)
    yield page.table(rows, head=("method", "insertion", "deletion"))


def _program(net: Network, layer: str | None, method: Method) -> Callable:
    """`(variables, image, k, key) -> map`, compiled once for all images."""

    def program(variables, image, k, key):
        forward = net.forward(variables)
        return method.call(Setting(forward, k, layer, net.black, key), image)

    return onednn.jit(program)


def _curves(net: Network) -> Callable:
    """`(variables, image, relevance, k) -> the means of both curves`."""

    def program(variables, image, relevance, k):
        def probability(images: Array) -> Array:
            scores = net.forward(variables)(images)["logits"]
            if scores.ndim > 2:
                return jax.nn.sigmoid(score_of({"logits": scores}, k))
            return jax.nn.softmax(scores)[:, k]

        whole = jax.image.resize(relevance, image.shape[:2], "bilinear")
        arguments = (probability, image, whole, net.black)
        return insertion_curve(*arguments).mean(), deletion_curve(*arguments).mean()

    return onednn.jit(program)


def _goodness(
    curves: Callable, net: Network, image: Array, relevance: np.ndarray, k: int
) -> list[str]:
    ranked = jnp.asarray(relevance, jnp.float32)
    means = curves(net.variables, image, ranked, np.int32(k))
    return [f"{float(mean):.3f}" for mean in means]


def _said(shown: Shown, classes: Sequence[str]) -> str:
    if shown.probabilities is None:
        return "The image."
    best = np.argsort(-shown.probabilities, kind="stable")[:2].tolist()
    words = [f"{classes[k]} {shown.probabilities[k]:.1%}" for k in best]
    return f"{', '.join(words)}."


def _strongest_place(relevance: np.ndarray) -> str:
    """Where a map is brightest, for those who do not see it."""
    if not relevance.max() > 0:
        return "nothing speaks for the class"
    row, column = np.unravel_index(int(relevance.argmax()), relevance.shape)
    height, width = relevance.shape
    down = ("upper", "middle", "lower")[min(3 * int(row) // height, 2)]
    across = ("left", "centre", "right")[min(3 * int(column) // width, 2)]
    return f"brightest in the {down} {across}"
