"""What its units like: images made for them, and a dream."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from jaxvision import onednn, visualise
from jaxvision.explain.optimised import deep_dream, optimised_images, unit_score
from jaxvision.explain.subject import Shown, Subject, captioned, heading
from jaxvision.types import Array
from jaxvision.visualise import page

NAME, TITLE = "units", "What its units like"

_UNITS = 6
"""Units of a layer that are shown."""

_SMALLEST = 64
"""Pixels along a side below which there is no room for dreams."""


def section(subject: Subject, shown: Shown) -> Iterator[page.Element]:
    """Images for the classes and channels that an image excites most."""
    net, options = subject.net, subject.options
    yield heading(TITLE, NAME)
    yield page.element(
        "p",
        f"Images that were optimised in {options.steps} steps, from noise, so that a "
        "class or a channel gets a high value also where they are moved, turned and "
        f"zoomed a little (Olah 2017). They are for those that {shown.name} excites "
        "most.",
    )
    outputs = subject.outputs(shown)
    wanted: dict[str, list[str]] = {}
    if "logits" in outputs:
        wanted["logits"] = [str(name) for name in net.predictor.classes]
    if subject.layer is not None:
        count = net.shapes[subject.layer][-1]
        wanted[subject.layer] = [f"channel {k}" for k in range(count)]
    figures = []
    for name, words in wanted.items():
        subject.tell(f"optimising images for {name}")
        values = np.asarray(outputs[name][0], np.float32)
        means = values.mean(tuple(range(values.ndim - 1)))
        units = np.argsort(-means, kind="stable")[:_UNITS]
        pixels = _optimised(subject, name, units)
        for unit, image in zip(units.tolist(), pixels, strict=True):
            figures.append(
                captioned(
                    page.image(
                        visualise.encoded(visualise.enlarged(image, 160)),
                        f"what {words[unit]} of {name} likes",
                    ),
                    words[unit],
                    f"of {name}",
                )
            )
    yield page.figures(figures)
    if subject.layer is None or min(net.black.shape[:2]) < _SMALLEST:
        return
    subject.tell("dreaming")
    dream = page.image(
        visualise.encoded(_dreamt(subject, subject.layer, shown)),
        f"{shown.name} with what {subject.layer} sees in it",
    )
    says = f"What {subject.layer} sees in {shown.name}, made stronger."
    yield page.figures([captioned(dream, "A deep dream.", says)])


def _optimised(subject: Subject, name: str, units: np.ndarray) -> np.ndarray:
    net = subject.net
    height, width, channels = net.black.shape

    def program(variables, units, key):
        return optimised_images(
            unit_score(net.forward(variables), name, units),
            (len(units), height, width, channels),
            key,
            given=net.given,
            steps=subject.options.steps,
        )

    chosen = jnp.asarray(units, jnp.int32)
    pixels = onednn.jit(program)(net.variables, chosen, subject.key())
    return net.seen(net.given(pixels))


def _dreamt(subject: Subject, layer: str, shown: Shown) -> np.ndarray:
    net = subject.net

    def program(variables, pixels, key):
        def score(images: Array) -> Array:
            values = net.forward(variables)(images)[layer]
            return (values**2).mean(tuple(range(1, values.ndim)))

        return deep_dream(score, pixels, key, given=net.given)

    image = subject.image(shown)[None]
    pixels = jnp.asarray(net.shares(image), jnp.float32)
    dream = onednn.jit(program)(net.variables, pixels, subject.key())
    return net.seen(net.given(dream))[0]
