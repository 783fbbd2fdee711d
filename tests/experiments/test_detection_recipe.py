"""The recipe that experiments of detection share."""

import json

import jax
import pytest

from experiments import bccd_ssdlite, coco_retinanet_resnet50, detection_recipe
from jaxvision.recipes import recipe_of
from jaxvision.runs import advice

SMOKE = detection_recipe.SMOKE


@pytest.fixture(scope="module")
def experiment():
    return bccd_ssdlite.build(
        bccd_ssdlite.Config(**SMOKE, maps=("stage3", "stage4"), scales=(0.2, 0.6))
    )


def test_what_is_learned_is_data_so_that_a_run_is_used_without_its_code(experiment):
    for part in (experiment.task, experiment.train.transform):
        saved = json.dumps(recipe_of(part))
        assert len(saved) > 100 and "elsewhere" not in saved


@pytest.mark.slow
def test_anchors_are_held_against_what_windows_leave(experiment):
    experiment.check()
    alone, idle = advice.before_training(experiment)
    assert "have no anchor with an IoU of 0.5" in alone  # in frames of four times
    images = experiment.train.num_examples
    assert f"kinds of anchors match no object in {images} training images" in idle


@pytest.mark.slow
def test_what_has_weights_may_keep_some():
    def built(**options):
        config = coco_retinanet_resnet50.Config(**SMOKE | options)
        return coco_retinanet_resnet50.build(config)

    params = {
        "backbone": {"conv1": {"kernel": 1.0}, "layer2.0": {"kernel": 1.0}},
        "head": {"bias": 1.0},
    }
    params = jax.tree.map(jax.numpy.float32, params)
    for weights, learned in ((None, 3), ("default", 2)):
        transform = built(weights=weights).optimizer.transform
        with jax.numpy_dtype_promotion("standard"):  # as optax wants it
            state = transform.init(params)
            for _ in range(2):  # the rate begins at 0
                updates, state = transform.update(params, state, params)
        assert sum(map(bool, jax.tree.leaves(updates))) == learned
    long = built(epochs=26)
    rate, steps = long.optimizer.schedule, long.steps
    assert float(rate(steps // 2)) == pytest.approx(0.01)
    assert float(rate(steps - 1)) == pytest.approx(0.0001)
