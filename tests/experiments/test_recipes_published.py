"""Recipes stand beside a published number for the values of their papers alone."""

import dataclasses
import importlib

import pytest

from experiments import cifar10_resnet18
from jaxvision import data

PUBLISHED = {
    "cifar10_resnet18": 0.9528,
    "cifar100_resnet18": 0.7754,
    "cifar10_wrn28_10": 0.96,
    "cifar10_vit": 0.9101,
    "imagenette_resnet50": 0.9355,
    "imagenet_resnet50": 0.764,
    "imagenet_resnet50_long": 0.80858,
    "imagenet_vit_s16": 0.765,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_number_of_a_recipe(monkeypatch, name):
    load = data.load
    side = 64 if "imagenet" in name else 32
    made = f"synthetic:{side}x{side}x3:10"
    monkeypatch.setattr(data, "load", lambda name, **options: load(made, **options))
    # The set that stands in for ImageNet is smaller than its batches.
    monkeypatch.setattr(data, "train", small(data.train))
    module = importlib.import_module(f"experiments.{name}")
    found = module.build(module.Config(seed=3)).reference
    assert found.value == PUBLISHED[name] and found.source
    key = "test_average_accuracy" if "long" in name else "test_accuracy"
    assert found.metric == key
    other = dataclasses.replace(module.Config(), epochs=20)
    assert module.build(other).reference is None


def small(train):
    return lambda source, batch, **options: train(source, 32, **options)


def test_rates_of_the_recipe_for_cifar():
    config = cifar10_resnet18.Config(dataset="synthetic:32x32x3", epochs=10)
    experiment = cifar10_resnet18.build(config)
    rates = [
        float(experiment.optimizer.schedule(round(experiment.steps * share)))
        for share in (0.29, 0.31, 0.61, 0.81)
    ]
    assert rates == pytest.approx([0.1, 0.02, 0.004, 0.0008])
