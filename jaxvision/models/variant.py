"""The description of a named variant in a model's file."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Pairs of a regular expression and its replacement, applied in turn to a name."""


OURS: Mapping[str, Rules] = MappingProxyType({"jaxvision": ()})
"""Sources of a model whose weights nobody else publishes."""


class Variant(NamedTuple):
    """A row of the table at the end of a model's file."""

    build: Callable[..., nn.Module]
    """Makes the module; its keyword options are those of `models.create`."""
    paper: str
    """Authors, year and address: "He et al. 2016, https://…"; empty: there is none."""
    input_shape: tuple[int, int, int] = (224, 224, 3)
    """Height, width and channels the paper trains with; others may work as well."""
    sources: Mapping[str, Rules] | Callable[..., Mapping[str, Rules]] = (
        MappingProxyType({"torchvision": ()})
    )
    """Who publishes weights, and how their names differ from our `path.to.weight`, or
    a function of the options of `models.create` that returns it.
    The first is the reference implementation, whose names `pretrained.save` writes."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Means and deviations of the channels, for pixels from 0 to 1, by which published
    weights of this name expect images to be normalised; None: those of its encoder as a
    classifier, and ImageNet's where there is none."""
    timm: str | None = None
    """Its name in timm, where shapes of arrays do not tell timm's networks apart."""
    timm_options: Mapping[str, Any] = MappingProxyType({})
    """Options with which it computes the same as timm's network."""
    constants: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    """`published weights -> further entries of the reference's state dict`, such as
    tables of indices, which follow from the architecture."""

    def published(self, **options: Any) -> Mapping[str, Rules]:
        """Its `sources` for these options of `models.create`."""
        found = self.sources
        return found(**options) if callable(found) else found
