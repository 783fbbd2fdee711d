"""Losses that optax lacks or that deserve the field's name."""

from jaxvision.losses.classification import cross_entropy, sum_of_squares

__all__ = ["cross_entropy", "sum_of_squares"]
