"""What the sections of a page are about, and what they share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.explain.network import Network
from jaxvision.types import Array, Outputs, Part
from jaxvision.visualise import page


class Options(NamedTuple):
    """What of a page is made."""

    layer: str | None = None
    """The layer that maps and units are taken of; None: the deepest map that what is
    explained depends on."""
    of_class: str | None = None
    """The class that is explained; None: the one that is predicted."""
    pixel: tuple[int, int] | None = None
    """Row and column, in the image as the network takes it: of maps what is said there
    is explained, and of objects one that covers it."""
    worst: int = 6
    """Mistakes of a data set that are explained."""
    examples: int = 2000
    """Examples of a data set, at most, that are looked at for exciting ones."""
    steps: int = 64
    """Of the optimisation of an image; 0: there are no such images."""
    seed: int = 0


class Shown(NamedTuple):
    """An image that is explained."""

    name: str
    pixels: np.ndarray
    """As it was prepared, uint8 [S,T,C]."""
    prediction: Mapping[str, np.ndarray]
    """What the task predicts of it."""
    label: int | None
    """What it is, if that is known."""


class Subject(NamedTuple):
    """The network, and how one looks at it."""

    net: Network
    title: str
    """What the page calls it."""
    layer: str | None
    """The layer that maps and units are taken of; None: it has no maps."""
    number: int | None
    """The class that is explained; None: that which is predicted of an image."""
    options: Options
    run: Path | None
    tell: Callable[[str], None]
    """Is called with what is being done."""

    def image(self, shown: Shown) -> Array:
        """[H,W,C], as the network takes it."""
        return self.net.images(jnp.asarray(shown.pixels[None]))[0]

    def outputs(self, shown: Shown) -> Outputs:
        """Named activations [1,…] of an image."""
        return self.net.outputs(self.net.variables, self.image(shown)[None])

    def part(self, shown: Shown) -> Part:
        """What is explained of an image."""
        own = {name: np.asarray(each)[0] for name, each in self.outputs(shown).items()}
        size = self.net.black.shape[:2]
        choose = self.net.explained.choose
        return choose(own, size, self.number, self.options.pixel)

    def layer_of(self, shown: Shown, part: Part) -> str | None:
        """The map in which it is looked for."""
        return self.options.layer or self.net.deepest(self.image(shown), part)

    def key(self) -> Array:
        """Of all that is drawn at random."""
        return jax.random.key(self.options.seed)


def heading(words: str, name: str) -> page.Element:
    """Of a section, to which the contents lead."""
    return page.element("h2", words, id=name)


def captioned(picture: page.Element, name: str, words: str) -> page.Element:
    """A picture with its name and what it shows below it."""
    return page.figure(picture, page.element("b", name), f" {words}")
