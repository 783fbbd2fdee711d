"""Which object each of the boxes or points of a detector is to find.

A matcher maps the N references of one image and its M objects to int32 [N]: the place
of the object in the batch, or `BACKGROUND`, or `IGNORED` for those that teach nothing.
Objects that are none (class -1) or crowds are left out by `valid` [M]; an image without
objects has nothing but background.  A batch is `jax.vmap`.

- by overlap: `max_iou` (R-CNN, RetinaNet), `best_and_above` (SSD)
- by statistics of the overlap: `atss`
- by places: `centre_sampling` (FCOS)
- by the cost of predictions: `simota` (YOLOX), `hungarian` (DETR)
- crowds: `in_crowd` tells which references lie in one
- as many of each kind as wanted: `balanced_sample` (R-CNN), `hard_negatives` (SSD)
"""

from jaxvision.ops.matching.atss import atss
from jaxvision.ops.matching.centre_sampling import centre_sampling
from jaxvision.ops.matching.hungarian import hungarian
from jaxvision.ops.matching.matches import (
    BACKGROUND,
    IGNORED,
    findable,
    gather,
    in_crowd,
)
from jaxvision.ops.matching.overlap import best_and_above, max_iou, thresholds_rule
from jaxvision.ops.matching.sampling import Sample, balanced_sample, hard_negatives
from jaxvision.ops.matching.simota import simota

__all__ = [
    "BACKGROUND",
    "IGNORED",
    "Sample",
    "atss",
    "balanced_sample",
    "best_and_above",
    "centre_sampling",
    "findable",
    "gather",
    "hard_negatives",
    "hungarian",
    "in_crowd",
    "max_iou",
    "simota",
    "thresholds_rule",
]
