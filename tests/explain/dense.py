"""Networks of one layer that say something of every pixel, or of objects.

What each of their numbers sees of an image is known: 3×3 pixels of a segmentation, and
of a detection the cell that its anchor lies in.
"""

import jax.numpy as jnp
from jax import lax

from jaxvision import tasks, visualise
from jaxvision.types import Model
from tests import predictors

SIDE = 32
CELLS = {"p3": 8, "p4": 16, "p5": 32}
"""Sides of the cells of each map, in pixels."""


def segmentation():
    """A predictor of masks."""

    def apply(variables, images, *, entry=None, train=False, key=None):
        params = variables["params"]
        maps = jnp.maximum(_convolved(images, params["first"], 1, "SAME"), 0)
        logits = _convolved(maps, params["last"], 1, "SAME")
        return {"maps": maps, "logits": logits}, {}

    def init(key, images):
        return {"params": {"first": _drawn(3, 3, 3, 5), "last": _drawn(1, 1, 5, 4)}}

    return _predictor(Model(init, apply), tasks.segmentation(4), visualise.segmentation)


def detection():
    """A predictor of objects, with the anchors of YOLOX."""

    def apply(variables, images, *, entry=None, train=False, key=None):
        outputs, found = {}, []
        for name, side in CELLS.items():
            kernel = variables["params"][name]
            maps = _convolved(images, kernel, side, "VALID")
            outputs[name] = maps
            found.append(maps.reshape(len(images), -1, 9))
        together = jnp.concatenate(found, 1)
        return outputs | {
            "class_logits": together[..., :4],
            "objectness": together[..., 4],
            "box_codes": together[..., 5:],
        }, {}

    def init(key, images):
        return {
            "params": {name: _drawn(side, side, 3, 9) for name, side in CELLS.items()}
        }

    detector = tasks.yolox(candidates=4, most=2)
    return _predictor(
        Model(init, apply), tasks.detection(4, detector), visualise.detection
    )


def _predictor(model, task, show):
    return predictors.make(
        model=model, size=SIDE, task=task, show=show(predictors.CLASSES)
    )


def _convolved(images, kernel, stride, padding):
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


def _drawn(*shape):
    return jnp.zeros(shape)  # `predictors.make` draws the numbers
