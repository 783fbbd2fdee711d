"""What a model's file says of each of its named variants."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn


class Variant(NamedTuple):
    """A row of the table at the end of a model's file."""

    build: Callable[..., nn.Module]
    """Makes the module; its keyword options are those of `models.create`."""
    input_shape: tuple[int, int, int]
    """Height, width and channels the paper trains with; others may work as well."""
