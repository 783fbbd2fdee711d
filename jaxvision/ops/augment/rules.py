"""What strengths and images have to be, and how it is said when they are not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UsageError
from jaxvision.types import Batch

Rule = tuple[bool, str]
"""For `errors.check`."""


def within(name: str, value: Any, low: float, high: float = np.inf) -> Rule:
    """`value` is in [low, high]; of one that is traced, nothing can be known."""
    if isinstance(value, jax.core.Tracer):
        return True, ""
    asked = f"at least {low}" if high == np.inf else f"in [{low}, {high}]"
    holds = bool(np.all((np.asarray(value) >= low) & (np.asarray(value) <= high)))
    return holds, f"{name} must be {asked}, got {value}"


def in_order(name: str, pair: Any, low: float, high: float = np.inf) -> Rule:
    """`pair` is two numbers, each in [low, high], the smaller one first."""
    if any(isinstance(value, jax.core.Tracer) for value in pair):
        return True, ""
    holds = len(pair) == 2 and low <= pair[0] <= pair[1] <= high
    asked = f"at least {low}" if high == np.inf else f"in [{low}, {high}]"
    return holds, f"{name} must be two numbers {asked}, in order, got {pair}"


def bytes_of(batch: Batch, transform: str, channels: tuple[int, ...] = ()) -> jax.Array:
    """The images, uint8 [B,H,W,C].  Raises `UsageError` if they are something else.

    channels: what C may be; empty: anything.
    """
    images = batch["image"]
    if images.dtype != jnp.uint8:
        raise UsageError(
            f"{transform} changes bytes from 0 to 255, got {images.dtype}: put it "
            "before normalise"
        )
    if channels and images.shape[-1] not in channels:
        raise UsageError(
            f"{transform} needs images of {' or '.join(map(str, channels))} channels, "
            f"got {images.shape[-1]}"
        )
    return images


def filling(value: Any, images: jax.Array) -> jax.Array:
    """`value` in the type of the images.  Raises `UsageError` if it does not fit."""
    if images.dtype == jnp.uint8:
        holds, message = within("the value that fills bytes", value, 0, 255)
        if not holds:
            raise UsageError(message)
    return jnp.asarray(value, images.dtype)
