"""Optimisers and the schedules of their learning rates."""

from jaxvision.optim.averages import ema, swa
from jaxvision.optim.fine_tuning import gradual_unfreezing, layer_decay
from jaxvision.optim.groups import groups, scale_rates
from jaxvision.optim.optimizers import (
    adam,
    adamw,
    decay_mask,
    lamb,
    lion,
    muon,
    sgd,
)
from jaxvision.optim.schedules import (
    constant,
    one_cycle,
    polynomial,
    step,
    warmup_cosine,
)

__all__ = [
    "adam",
    "adamw",
    "constant",
    "decay_mask",
    "ema",
    "gradual_unfreezing",
    "groups",
    "lamb",
    "layer_decay",
    "lion",
    "muon",
    "one_cycle",
    "polynomial",
    "scale_rates",
    "sgd",
    "step",
    "swa",
    "warmup_cosine",
]
