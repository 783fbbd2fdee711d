"""Losses that optax lacks or that deserve the field's name."""

from jaxvision.losses.boxes import (
    ciou_loss,
    diou_loss,
    giou_loss,
    iou_loss,
    log_iou_loss,
    squared_iou_loss,
)
from jaxvision.losses.classification import cross_entropy, sum_of_squares
from jaxvision.losses.dense import sigmoid_focal, smooth_l1
from jaxvision.losses.regression import absolute_error, huber, squared_error

__all__ = [
    "absolute_error",
    "ciou_loss",
    "cross_entropy",
    "diou_loss",
    "giou_loss",
    "huber",
    "iou_loss",
    "log_iou_loss",
    "sigmoid_focal",
    "smooth_l1",
    "squared_error",
    "squared_iou_loss",
    "sum_of_squares",
]
