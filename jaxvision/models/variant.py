"""What a model's file says of each of its named variants."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Regular expressions with what replaces their matches, applied in turn."""


OURS: Mapping[str, Rules] = MappingProxyType({"jaxvision": ()})
"""The sources of a model whose weights nobody else publishes."""


class Variant(NamedTuple):
    """A row of the table at the end of a model's file."""

    build: Callable[..., nn.Module]
    """Makes the module; its keyword options are those of `models.create`."""
    input_shape: tuple[int, int, int] = (224, 224, 3)
    """Height, width and channels the paper trains with; others may work as well."""
    sources: Mapping[str, Rules] = MappingProxyType({"torchvision": ()})
    """Who publishes weights, and how their names differ from our `path.to.weight`.
    The first is the reference implementation, whose names `pretrained.save` writes."""
    timm: str | None = None
    """What timm calls it, where arrays alone do not tell timm's networks apart."""
    timm_options: Mapping[str, Any] = MappingProxyType({})
    """Those with which it computes what timm's network does."""
    paper: str | None = None
    """Its authors, year and address; None: the first that the file names."""
    constants: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    """`published weights -> what the reference wants beside them`, such as tables of
    indices that follow from the architecture."""
