"""Why it says what it says: the maps of all methods, and how good each is."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import onednn, visualise
from jaxvision.explain.curves import deletion_curve, insertion_curve
from jaxvision.explain.methods import METHODS, Method, Setting
from jaxvision.explain.network import Network
from jaxvision.explain.subject import Shown, Subject, captioned, heading
from jaxvision.types import Array, Outputs, Part, Show
from jaxvision.visualise import page

NAME, TITLE = "why", "Why it says what it says"

_LISTED = 6
"""Lines of a prediction that are repeated in words."""


def section(
    subject: Subject, images: Sequence[tuple[Shown, Part]]
) -> Iterator[page.Element]:
    """The maps for each image and what is explained of it, with the numbers that
    compare them."""
    net = subject.net
    yield heading(TITLE, NAME)
    yield page.element(
        "p",
        "Bright places speak for what is explained. How well a map says what matters "
        "is measured: its pixels are inserted into an image without content, or "
        "deleted from the image, the brightest first, and how sure the network is of "
        "what is explained is averaged on the way (Petsiuk 2018). A good map has much "
        "on insertion and little on deletion.",
    )
    rollout = net.has_rollout(subject.image(images[0][0]))
    program = functools.cache(functools.partial(_program, net))
    curves = _curves(net)
    for shown, part in images:
        subject.tell(f"explaining {shown.name}")
        layer = subject.layer_of(shown, part)
        there = {"": True, "map": layer in net.maps(), "attention": rollout}
        methods = [name for name, each in METHODS.items() if there[each.needs]]
        yield from _explanation(subject, shown, part, layer, methods, program, curves)


def _explanation(
    subject: Subject,
    shown: Shown,
    part: Part,
    layer: str | None,
    methods: Sequence[str],
    program: Callable[..., Callable],
    curves: Callable,
) -> Iterator[page.Element]:
    net, show = subject.net, subject.net.predictor.show
    classes = net.predictor.classes
    image = subject.image(shown)
    picture = net.seen(image[None])[0]
    words = [f"explained: {net.explained.words(part, classes)}"]
    if shown.label is not None:
        words.append(f"it is {classes[shown.label]}")
    figures = [
        captioned(
            page.image(visualise.encoded(visualise.enlarged(picture)), shown.name),
            _said(show, shown.prediction),
            f"{'; '.join(words)}.",
        )
    ]
    if show is not None and show.files is not None:  # it predicts more than words
        all_of_it = show.draw({"image": shown.pixels}, shown.prediction)
        listed = show.words(shown.prediction)[:_LISTED]
        figures.append(
            captioned(
                page.image(
                    visualise.encoded(all_of_it),
                    f"what is predicted of {shown.name}",
                    width=str(visualise.enlarged(picture).shape[1]),
                ),
                "Prediction.",
                f"{', '.join(listed)}.",
            )
        )
    rows = []
    for name in methods:
        method = METHODS[name]
        arguments = (net.variables, image, part, subject.key())
        looked_for = layer if method.needs == "map" else None
        relevance = np.asarray(program(method, looked_for)(*arguments))
        drawn = visualise.heat_upon(picture, relevance, around=np.asarray(part.region))
        figures.append(
            captioned(
                page.image(
                    visualise.encoded(drawn),
                    f"{method.title}: {_strongest_place(relevance)}",
                ),
                f"{method.title}.",
                method.says.format(layer=layer),
            )
        )
        rows.append((method.title, *_goodness(curves, net, image, relevance, part)))
    chance = np.random.default_rng(subject.options.seed).random(picture.shape[:2])
    rows.append(("Pixels at random", *_goodness(curves, net, image, chance, part)))
    yield page.element("h3", shown.name)
    yield page.figures(figures)
    yield page.table(rows, head=("method", "insertion", "deletion"))


def _program(net: Network, method: Method, layer: str | None) -> Callable:
    """`(variables, image, part, key) -> map`, compiled once for all images."""

    def program(variables, image, part, key):
        def of(outputs: Outputs) -> Array:
            return net.explained.score(outputs, part)

        setting = Setting(net.forward(variables), of, layer, net.black, key)
        return method.call(setting, image)

    return onednn.jit(program)


def _curves(net: Network) -> Callable:
    """`(variables, image, relevance, part) -> the means of both curves`."""

    def program(variables, image, relevance, part):
        def share(images: Array) -> Array:
            return net.explained.share(net.forward(variables)(images), part)

        whole = jax.image.resize(relevance, image.shape[:2], "bilinear")
        arguments = (share, image, whole, net.black)
        return insertion_curve(*arguments).mean(), deletion_curve(*arguments).mean()

    return onednn.jit(program)


def _goodness(
    curves: Callable, net: Network, image: Array, relevance: np.ndarray, part: Part
) -> list[str]:
    ranked = jnp.asarray(relevance, jnp.float32)
    means = curves(net.variables, image, ranked, part)
    return [f"{float(mean):.3g}" for mean in means]


def _said(show: Show | None, prediction: Mapping[str, np.ndarray]) -> str:
    if show is None:
        return "The image."
    return f"{', '.join(show.words(prediction)[:2])}."


def _strongest_place(relevance: np.ndarray) -> str:
    """Where a map is brightest, for those who do not see it."""
    if not relevance.max() > 0:
        return "nothing speaks for it"
    row, column = np.unravel_index(int(relevance.argmax()), relevance.shape)
    height, width = relevance.shape
    down = ("upper", "middle", "lower")[min(3 * int(row) // height, 2)]
    across = ("left", "centre", "right")[min(3 * int(column) // width, 2)]
    return f"brightest in the {down} {across}"
