"""Losses that optax lacks or that deserve the field's name."""

from jaxvision.losses.classification import cross_entropy, sum_of_squares
from jaxvision.losses.regression import absolute_error, huber, squared_error

__all__ = [
    "absolute_error",
    "cross_entropy",
    "huber",
    "squared_error",
    "sum_of_squares",
]
