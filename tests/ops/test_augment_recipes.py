"""Transforms as data: what is saved makes the same transform again."""

import functools
import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops import augment
from jaxvision.ops.augment import from_recipe, recipe_of

KEY = jax.random.key(7)
SIZE = (12, 10)
FLOATS = augment.normalise((0.5, 0.4, 0.3), np.float32([0.2, 0.25, 0.3]))
TRANSFORMS = {
    "auto_augment": augment.auto_augment("svhn", fill=7),
    "central_crop": augment.central_crop((6, 8), share=0.7),
    "colour_jitter": augment.colour_jitter(0.3, hue=0.1, probability=0.9),
    "compose": augment.compose(augment.vertical_flip(0.3), augment.random_shift(2)),
    "copy_paste": augment.copy_paste(share=0.6, zoom=(0.6, 1.2), most=3),
    "cutmix": augment.cutmix(5, 0.7, probability=0.8),
    "cutout": augment.cutout(5, value=3),
    "gaussian_blur": augment.gaussian_blur((0.5, 3.0), kernel=3, probability=0.9),
    "gaussian_noise": augment.gaussian_noise((5.0, 50.0)),
    "horizontal_flip": augment.horizontal_flip(0.7, mirrored_keypoints=(0, 2, 1)),
    "mixup": augment.compose(FLOATS, augment.mixup(5, jnp.float32(0.7))),
    "mosaic": augment.mosaic(zoom=(0.6, 1.2), mixup=(0.9, 1.1), most=9),
    "normalise": FLOATS,
    "one_of": augment.one_of(
        augment.random_flip, augment.cutout(4), probabilities=(0.25, 0.75)
    ),
    "pad": augment.pad(2, 9),
    "rand_augment": augment.rand_augment(1, 7.5, method="bilinear"),
    "random_affine": augment.random_affine(degrees=30, zoom=(0.7, 1.5), shear=0.2),
    "random_crop": augment.random_crop(8, padding=3, mode="reflect"),
    "random_elastic": augment.random_elastic(2, grid=4, fill=7),
    "random_erasing": augment.random_erasing(0.9, area=(0.1, 0.3)),
    "random_expansion": augment.random_expansion(2.5, fill=(1, 2, 3)),
    "random_flip": augment.random_flip,
    "random_greyscale": augment.random_greyscale(0.6),
    "random_iou_crop": augment.random_iou_crop((7, 9), ious=(0.1, 0.5)),
    "random_perspective": augment.random_perspective(0.4, fill=9),
    "random_resized_crop": augment.random_resized_crop((7, 9), scale=(0.2, 0.9)),
    "random_rotation": augment.random_rotation(40.0, fill=5),
    "random_shear": augment.random_shear(0.4),
    "random_shift": augment.random_shift(3, 8),
    "random_translation": augment.random_translation(0.3, method="nearest"),
    "random_zoom": augment.random_zoom((0.5, 1.1)),
    "resize": augment.resize(7),
    "sometimes": augment.sometimes(augment.gaussian_noise(), 0.6),
    "trivial_augment": augment.trivial_augment(method="bilinear", min_visible=None),
    "vertical_flip": augment.vertical_flip(0.4),
    "with_sides": augment.with_sides(augment.random_flip, (1, 0)),
}
OF_OBJECTS = ("random_iou_crop",)
"""They want boxes, which mixtures of labels refuse."""
OTHERS = {"Recipe", "Transform", "from_recipe", "of_images", "recipe_of", "warp"}


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    return {
        "image": jnp.asarray(random.integers(0, 256, (8, *SIZE, 3)), jnp.uint8),
        "label": jnp.asarray(random.integers(0, 5, 8), jnp.int32),
    }


def objects_of(batch):
    count = len(batch["image"])
    boxes = jnp.tile(jnp.asarray([[[2.0, 3.0, 8.0, 9.0]]]), (count, 2, 1))
    instances = jnp.zeros((count, 2, *SIZE), jnp.uint8).at[:, :, 3:9, 2:8].set(1)
    classes = jnp.ones((count, 2), jnp.int32)
    return {**batch, "boxes": boxes, "classes": classes, "instances": instances}


def apply(transform, batch):
    return jax.jit(transform)(KEY, batch)


def through_json(transform):
    return from_recipe(json.loads(json.dumps(recipe_of(transform), allow_nan=False)))


def test_every_exported_transform_is_tested_here():
    assert set(TRANSFORMS) == set(augment.__all__) - OTHERS


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_recipe_makes_the_same_transform(name, batch):
    if name in ("copy_paste", "mosaic"):
        batch = objects_of(batch)
    transform = TRANSFORMS[name]
    if name in OF_OBJECTS:
        boxes = jnp.tile(jnp.float32([[[1, 2, 6, 9]]]), (8, 1, 1))
        batch = {**batch, "boxes": boxes, "classes": jnp.zeros((8, 1), jnp.int32)}
    again = through_json(transform)
    assert recipe_of(again) == recipe_of(transform)
    got, wanted = apply(again, batch), apply(transform, batch)
    assert got.keys() == wanted.keys()
    for key in wanted:
        assert got[key].dtype == wanted[key].dtype
        np.testing.assert_array_equal(got[key], wanted[key])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_recipe_has_all_arguments(name):
    recipe = recipe_of(TRANSFORMS[name])
    made_by = getattr(augment, recipe["name"])
    assert recipe["arguments"].keys() == inspect.signature(made_by).parameters.keys()


def test_the_recipe_of_the_documentation():
    assert recipe_of(augment.random_shift(4)) == {
        "name": "random_shift",
        "arguments": {"distance": 4, "value": 0, "min_visible": 0.1},
    }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_compositions_of_any_length(count, batch):
    transform = augment.compose(*[augment.random_shift(i + 1) for i in range(count)])
    recipe = recipe_of(transform)
    distances = [
        step["arguments"]["distance"] for step in recipe["arguments"]["transforms"]
    ]
    assert distances == [1, 2, 3][:count]
    got, wanted = apply(through_json(transform), batch), apply(transform, batch)
    np.testing.assert_array_equal(got["image"], wanted["image"])


def test_what_json_cannot_hold_has_no_recipe():
    def own(key, batch):
        return batch

    assert recipe_of(own) is None
    assert recipe_of(augment.of_images(lambda key, images: images)) is None
    assert recipe_of(augment.compose(augment.random_flip, own)) is None
    assert recipe_of(augment.sometimes(own)) is None
    assert recipe_of(augment.gaussian_noise((0.0, float("inf")))) is None
    found = []

    @jax.jit
    def traced(strength):
        found.append(recipe_of(augment.gaussian_noise((0.0, strength))))
        return strength

    traced(1.0)
    assert found == [None]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "random_shfit", "arguments": {}}, "did you mean 'random_shift'"),
        (
            {"name": "random_shift", "arguments": {"distanze": 4}},
            "unknown argument of random_shift 'distanze': did you mean 'distance'",
        ),
        ({"name": "resize", "arguments": {}}, "resize needs size, got a recipe"),
        ({"name": "resize"}, "a recipe must be"),
        (
            {
                "name": "compose",
                "arguments": {"transforms": [{"name": "flop", "arguments": {}}]},
            },
            "unknown transform 'flop'",
        ),
        (
            {"name": "random_shift", "arguments": {"distance": -1}},
            "distance must be at least 0, got -1",
        ),
    ],
    ids=str,
)
def test_recipes_that_make_nothing_are_usage_errors(recipe, message):
    with pytest.raises(UsageError, match=message):
        from_recipe(recipe)


def test_factories_look_as_they_are_written():
    signature = inspect.signature(augment.random_shift)
    assert list(signature.parameters) == ["distance", "value", "min_visible"]
    assert augment.random_shift.__doc__.startswith("Moves each image")
    assert isinstance(recipe_of(functools.partial(augment.random_shift, 4)()), dict)
