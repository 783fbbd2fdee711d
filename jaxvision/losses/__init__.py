"""Losses that optax lacks or that deserve the field's name."""

from jaxvision.losses.boxes import (
    ciou_loss,
    diou_loss,
    giou_loss,
    iou_loss,
    log_iou_loss,
    squared_iou_loss,
)
from jaxvision.losses.class_weights import (
    class_balanced,
    inverse_frequency,
    median_frequency,
    positive_weights,
)
from jaxvision.losses.classification import cross_entropy, sum_of_squares
from jaxvision.losses.dense import sigmoid_focal, smooth_l1
from jaxvision.losses.multilabel import (
    asymmetric,
    positive_weighted,
    sigmoid_cross_entropy,
)
from jaxvision.losses.regression import absolute_error, huber, squared_error
from jaxvision.losses.segmentation import (
    MapLoss,
    dice,
    focal,
    lovasz_softmax,
    of_maps,
    ohem,
    weighted_cross_entropy,
    weighted_sum,
)

__all__ = [
    "MapLoss",
    "absolute_error",
    "asymmetric",
    "ciou_loss",
    "class_balanced",
    "cross_entropy",
    "dice",
    "diou_loss",
    "focal",
    "giou_loss",
    "huber",
    "inverse_frequency",
    "iou_loss",
    "log_iou_loss",
    "lovasz_softmax",
    "median_frequency",
    "of_maps",
    "ohem",
    "positive_weighted",
    "positive_weights",
    "sigmoid_cross_entropy",
    "sigmoid_focal",
    "smooth_l1",
    "squared_error",
    "squared_iou_loss",
    "sum_of_squares",
    "weighted_cross_entropy",
    "weighted_sum",
]
