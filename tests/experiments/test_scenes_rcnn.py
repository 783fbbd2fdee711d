"""R-CNN: what it says of a region depends on the pixels in it, and on nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import scenes_rcnn
from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.models.region_classifier import RegionClassifier, enlarged


def test_boxes_are_enlarged_about_their_centres():
    got = enlarged(jnp.array([[10.0, 20.0, 30.0, 50.0]]), 1.5)
    np.testing.assert_allclose(got, [[5.0, 12.5, 35.0, 57.5]])
    with pytest.raises(UsageError, match="--margin must be 1 or more"):
        scenes_rcnn.build(scenes_rcnn.Config(margin=0.5))


def test_equal_regions_are_told_the_same_wherever_they_lie():
    draw = np.random.default_rng(0)
    images = draw.random((2, 32, 40, 3)).astype(np.float32)
    images[0, 16:28, 20:32] = images[0, 2:14, 4:16]
    images[1, 8:20, 6:18] = images[0, 2:14, 4:16]
    boxes = np.array([
        [[5, 3, 15, 13], [21, 17, 31, 27], [0, 0, 10, 10]],
        [[7, 9, 17, 19], [20, 10, 30, 20], [0, 0, 0, 0]],
    ], np.float32)  # fmt: skip
    model = models.from_linen(
        RegionClassifier(
            encoder="resnet20",
            encoder_options={"width": 4},
            num_classes=3,
            side=8,
            stride=4,
        )
    )
    variables = model.init(jax.random.key(0), images)
    outputs, _ = model.apply(variables, images)
    np.testing.assert_array_equal(outputs["level1"], images)
    found, _ = model.apply(variables, boxes, images, entry="boxes")
    scores, codes = found["class_logits"], found["box_codes"]
    assert scores.shape == (2, 3, 3) and codes.shape == (2, 3, 3, 4)
    for same in (scores[0, 1], scores[1, 0]):
        np.testing.assert_allclose(same, scores[0, 0], rtol=1e-4)
    for other in (scores[0, 2], scores[1, 1]):
        assert np.abs(other - scores[0, 0]).max() > 1e-3
