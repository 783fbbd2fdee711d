"""Transforms as data: `recipe_of` a transform, and the transform `from_recipe`.

See `jaxvision.recipes`.  A transform that is made by a special case of another function
has the recipe of that: `random_rotation` makes a `random_affine`.
"""

from collections.abc import Callable

import jax

from jaxvision.recipes import TRANSFORMS, Recipe, recipe_of
from jaxvision.types import Batch

__all__ = ["Recipe", "Transform", "from_recipe", "recipe_of", "with_recipe"]

Transform = Callable[[jax.Array, Batch], Batch]
"""`(key, batch) -> batch`, pure and traceable."""

with_recipe = TRANSFORMS.recorded
"""A decorator: the transforms that a function returns have a recipe."""

from_recipe = TRANSFORMS.make
"""The transform of a recipe: for equal keys its results are the same, bit for bit."""
