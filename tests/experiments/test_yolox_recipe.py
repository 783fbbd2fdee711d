"""The recipe that experiments of YOLOX share."""

import dataclasses

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import coco_yolox_s, scenes_yolox, yolox_recipe
from jaxvision import data
from jaxvision.engine import sharding
from jaxvision.engine.loop import Interrupted, fit
from tests.engine.test_loop import fingerprints, interrupting

LONGER = dict(size=None, epochs=3, batch_size=8, validations=3)
SMALL = scenes_yolox.Config(**yolox_recipe.SMOKE | LONGER)


def test_the_recipe_of_coco_stands_beside_its_number_and_no_other(monkeypatch):
    load = data.load
    monkeypatch.setattr(data, "load", lambda name: load("scenes:64x64x3:320:80"))
    found = coco_yolox_s.build(coco_yolox_s.Config(seed=3))
    assert found.reference.value == 0.405 and found.monitor == "average/ap"
    assert found.reference.metric == "test_average_ap"
    rates = [
        float(found.optimizer.schedule(round(found.steps * epoch / 300)))
        for epoch in (2.5, 5, 145, 285, 299)
    ]
    assert rates == pytest.approx([0.0025, 0.01, 0.00525, 0.0005, 0.0005], rel=1e-3)
    other = coco_yolox_s.build(dataclasses.replace(coco_yolox_s.Config(), peak_lr=0.02))
    assert other.reference is None


def test_images_are_plain_at_the_end_and_every_digit_is_one_class():
    experiment = scenes_yolox.build(SMALL)
    train, items = experiment.train, experiment.train.items()
    resident = train.resident()
    assert experiment.classes == ("digit",)
    found = {}
    for number in range(experiment.steps):
        item = next(items)
        if number in (0, experiment.steps - 1):
            found[number] = jax.eval_shape(
                train.fetch, resident, item, jax.random.key(0)
            )
    mixed, plain = found.values()
    assert mixed.keys() == plain.keys() >= {"image", "boxes", "classes"}
    assert mixed["boxes"].shape[1] == 12 and plain["boxes"].shape[1] == 6
    classes = np.unique(np.asarray(resident["classes"]))
    assert classes.tolist() == [-1, 0]


@pytest.mark.slow
@pytest.mark.exhaustive  # `data.feed.test_phases` and `test_detection_runs` resume too
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path):
    def train(name, experiment):
        (tmp_path / name).mkdir(exist_ok=True)
        mesh, console = sharding.make_mesh(1), Console(quiet=True)
        return fit(experiment, tmp_path / name, mesh=mesh, console=console)

    quiet = train("quiet", scenes_yolox.build(SMALL))
    # In the middle of the mosaics; what follows has a change of phase.
    with pytest.raises(Interrupted):
        train("broken", interrupting(scenes_yolox.build(SMALL), 10))
    broken = train("broken", scenes_yolox.build(SMALL))
    assert fingerprints(broken) == fingerprints(quiet)
