"""Data: where images come from and how they reach the device."""

from jaxvision.data.carving import carve
from jaxvision.data.loader import evaluation, train
from jaxvision.data.registry import load
from jaxvision.data.source import Source, Splits

__all__ = ["Source", "Splits", "carve", "evaluation", "load", "train"]
