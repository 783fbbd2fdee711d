"""Every experiment of a recipe begins with the published weights that it is given."""

import dataclasses
import importlib
import pkgutil

import jax
import numpy as np
import pytest

import experiments
from experiments import detection_recipe, pose_recipe, segmentation_recipe
from jaxvision import models, pretrained, runs
from jaxvision.pretrained import published

RECIPES = (detection_recipe, pose_recipe, segmentation_recipe)
FILES = {
    "camvid_fcn8s": "vgg16",
    "camvid_segnet": "vgg16_bn",
    "coco_hrnet_w32": "hrnet_w32",
}
"""Of experiments that know no `default`: whose weights they take."""
LARGER = {"voc0712_ssd300": dict(size=(300, 300), canvas=(300, 300))}


def takes_weights():
    """The names of experiments that take weights, with their recipes."""
    for name in sorted(
        module.name for module in pkgutil.iter_modules(experiments.__path__)
    ):
        if name.endswith("_recipe"):
            continue
        module = importlib.import_module(f"experiments.{name}")
        config = getattr(module, "Config", object)
        for recipe in RECIPES:
            if issubclass(config, recipe.Config) and "weights" in fields(config):
                yield name, recipe


def fields(config):
    return {field.name for field in dataclasses.fields(config)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The name of a model to a file of its weights, all one."""
    folder = tmp_path_factory.mktemp("published")

    def save(name):
        path = folder / f"{name}.pth"
        if not path.exists():
            shapes = models.shapes.variables(name)
            ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
            pretrained.save(path, name, ones)
        return path

    return save


def cases():
    for name, recipe in takes_weights():
        quick = name == "scenes_keypoints"
        yield pytest.param(
            name, recipe, id=name, marks=() if quick else pytest.mark.slow
        )


@pytest.mark.parametrize(("name", "recipe"), [*cases()])
def test_published_weights_of_its_encoder_begin_it(name, recipe, saved, monkeypatch):
    monkeypatch.setattr(published, "fetch", saved)
    module = importlib.import_module(f"experiments.{name}")
    small = {"dataset", "size", "crop", "canvas", "validation", "batch_size"}
    chosen = {key: value for key, value in recipe.SMOKE.items() if key in small}
    chosen |= LARGER.get(name, {})
    weights = saved(FILES[name]) if name in FILES else "default"
    config = module.Config(**chosen, weights=str(weights), epochs=1)
    start = runs.initial.of_experiment(module.build(config))
    assert start.drawn and not start.left_out
    given = [a for a in jax.tree.leaves(start.variables) if np.all(np.asarray(a) == 1)]
    assert len(given) > 10


def test_the_experiments_are_found():
    assert {recipe for _, recipe in takes_weights()} == set(RECIPES)
