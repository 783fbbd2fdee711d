"""What holds for every transform: bits, devices, vmap, traced strengths, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxvision.errors import UsageError
from jaxvision.ops import augment
from jaxvision.ops.augment import (
    compose,
    normalise,
    one_of,
    pad,
    random_flip,
    random_shift,
    sometimes,
)

KEY = jax.random.key(0)


def apply(transform, images, key=KEY):
    """What becomes of the images."""
    return jax.jit(transform)(key, {"image": images})["image"]


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return jnp.asarray(random.integers(1, 256, (64, 9, 7, 3)), jnp.uint8)


def test_normalise_and_pad(images):
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    got = apply(normalise(mean, std), images)
    assert got.dtype == jnp.float32
    expected = (np.asarray(images) / 255 - mean) / std
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    padded = apply(pad(2, 7), images)
    expected = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=7)
    np.testing.assert_array_equal(padded, expected)


def test_published_runs_draw_the_same_flips_and_shifts(images):
    """As the draws were written when the first results were published."""
    keys = [jax.random.fold_in(KEY, index) for index in (0, 1)]
    got = apply(compose(random_shift(3), random_flip), images)
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)))
    corners = jax.random.randint(keys[0], (64, 2), 0, 2 * 3 + 1)
    flips = jax.random.bernoulli(keys[1], shape=(64, 1, 1, 1)).ravel()
    for i, (y, x) in enumerate(np.asarray(corners)):
        expected = padded[i, y : y + 9, x : x + 7]
        expected = expected[:, ::-1] if flips[i] else expected
        np.testing.assert_array_equal(got[i], expected)
    assert 16 < flips.sum() < 48 and len(set(map(tuple, corners.tolist()))) > 30


def test_compose_gives_each_step_a_key_of_its_own(images):
    twice = compose(random_shift(1), random_shift(1))
    keys = [jax.random.fold_in(KEY, index) for index in (0, 1)]
    expected = apply(random_shift(1), apply(random_shift(1), images, keys[0]), keys[1])
    np.testing.assert_array_equal(apply(twice, images), expected)


def test_choices_are_made_for_each_example(images):
    blacken = augment.of_images(lambda key, images: images * 0)
    whiten = augment.of_images(lambda key, images: images * 0 + 255)
    some = np.asarray(apply(sometimes(blacken, 0.25), images))
    black = (some == 0).all(axis=(1, 2, 3))
    assert 6 < black.sum() < 28
    np.testing.assert_array_equal(some[~black], images[~black])
    either = apply(one_of(blacken, whiten, probabilities=(0.25, 0.75)), images)
    black = (either == 0).all(axis=(1, 2, 3))
    assert 6 < black.sum() < 28 and (either[~black] == 255).all()


def batch_of(images):
    """A batch with all there is to be moved."""
    count, height, width, _ = images.shape
    random = np.random.default_rng(1)
    low = random.uniform(0, 5, (count, 3, 2))
    boxes = np.concatenate([low, low + random.uniform(1, 5, low.shape)], -1)
    keypoints = random.uniform(0, 7, (count, 3, 2, 3))
    keypoints[..., 2] = random.integers(1, 3, (count, 3, 2))
    classes = random.integers(0, 4, (count, 3))
    classes[:, 2] = -1
    boxes[:, 2] = keypoints[:, 2] = 0
    return {
        "image": images,
        "label": jnp.asarray(random.integers(0, 4, count), jnp.int32),
        "segmentation": jnp.asarray(
            random.integers(0, 4, (count, height, width)), jnp.uint8
        ),
        "boxes": jnp.asarray(boxes, jnp.float32),
        "classes": jnp.asarray(classes, jnp.int32),
        "keypoints": jnp.asarray(keypoints, jnp.float32),
        "name": jnp.arange(count),
    }


TRANSFORMS = {
    "flips, shift": compose(
        augment.horizontal_flip(mirrored_keypoints=(1, 0)),
        augment.vertical_flip(0.3, mirrored_keypoints=(0, 1)),
        random_shift(2),
    ),
    "crop": augment.random_crop((6, 5), padding=1, mode="reflect"),
    "resized crop": augment.random_resized_crop(8),
    "resize": augment.resize((5, 8)),
    "affine": augment.random_affine(
        degrees=40, translation=0.1, zoom=(0.7, 1.4), shear=0.3
    ),
    "perspective": augment.random_perspective(0.5, method="nearest"),
    "elastic": augment.random_elastic(1.0),
    "colour": compose(augment.colour_jitter(), augment.random_greyscale()),
    "blur": compose(augment.gaussian_blur(), augment.gaussian_noise((5, 50))),
    "erase": compose(augment.random_erasing(), augment.cutout(3)),
    "policy": augment.rand_augment(1),
    "mix": compose(normalise(0.5, 0.5), augment.mixup(4)),
}
DENSE = {"segmentation", "boxes", "classes", "keypoints"}


def example(name, images):
    batch = batch_of(images[:16])
    if name == "mix":
        batch = {key: batch[key] for key in batch if key not in DENSE}
    return batch


def same(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        if jnp.issubdtype(array.dtype, jnp.floating):
            np.testing.assert_allclose(got[name], array, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMS)
def test_eight_devices_and_vmap_make_what_one_makes(name, images):
    batch, transform = example(name, images), TRANSFORMS[name]
    transform = jax.jit(transform)
    alone = transform(KEY, batch)
    assert (alone["name"] == batch["name"]).all()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    same(transform(KEY, split), alone)

    keys = jnp.stack([KEY, jax.random.key(7)])
    both = jax.jit(jax.vmap(TRANSFORMS[name], in_axes=(0, None)))(keys, batch)
    same({key: array[0] for key, array in both.items()}, alone)
    if name != "resize":
        assert (both["image"][0] != both["image"][1]).any()


@pytest.mark.parametrize(
    "make, strengths",
    [
        (lambda s: augment.random_affine(degrees=s, zoom=(1 / s, s), shear=s / 9), 2),
        (lambda s: augment.random_perspective(s), 0.4),
        (lambda s: augment.random_elastic(s), 1.5),
        (lambda s: augment.colour_jitter(s, s, s, s / 4), 0.5),
        (lambda s: augment.gaussian_blur((s, s + 1)), 0.7),
        (lambda s: compose(augment.cutout(s), augment.random_erasing(s / 8)), 4),
        (lambda s: augment.rand_augment(1, s), 7.0),
        (lambda s: compose(sometimes(augment.vertical_flip(s), s)), 0.7),
    ],
)
def test_a_traced_strength_gives_what_a_known_one_gives(make, strengths, images):
    traced = jax.jit(lambda s: make(s)(KEY, {"image": images}))(strengths)
    known = jax.jit(lambda x: make(strengths)(KEY, {"image": x}))(images)
    difference = np.abs(np.asarray(traced["image"], int) - np.asarray(known["image"]))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: normalise(0, 0), "std"),
        (lambda: normalise((123.68, 116.78, 103.94), 1), "divide both by 255"),
        (lambda: normalise(0.5, (0.5, 58, 0.5)), "divide both by 255"),
        (lambda: normalise(float("nan"), 1), "divide both by 255"),
        (lambda: pad(-1), "padding"),
        (lambda: random_shift(-1), "distance"),
        (lambda: augment.horizontal_flip(1.5), "probability"),
        (lambda: augment.horizontal_flip(mirrored_keypoints=(1, 2, 0)), "pairs"),
        (lambda: augment.random_crop(0), "size"),
        (lambda: augment.random_crop(4, mode="wrap"), "mode"),
        (lambda: augment.random_crop(4, min_visible=2), "min_visible"),
        (lambda: augment.random_resized_crop(4, scale=(0.5, 0.1)), "scale"),
        (lambda: augment.random_affine(degrees=-1), "degrees"),
        (lambda: augment.random_affine(zoom=(0, 1)), "zoom"),
        (lambda: augment.random_perspective(1.0), "distortion"),
        (lambda: augment.random_elastic(-1), "deviation"),
        (lambda: augment.random_elastic(grid=1), "grid"),
        (lambda: augment.colour_jitter(hue=0.6), "hue"),
        (lambda: augment.gaussian_blur((0, 1)), "sigma"),
        (lambda: augment.gaussian_blur(kernel=4), "kernel"),
        (lambda: augment.gaussian_noise((3, 2)), "deviation"),
        (lambda: augment.cutout(-1), "size"),
        (lambda: augment.random_erasing(area=(0.1, 1.2)), "area"),
        (lambda: augment.rand_augment(0), "num_ops"),
        (lambda: augment.rand_augment(2, 11), "magnitude"),
        (lambda: augment.auto_augment("cifar11"), "'cifar10'"),
        (lambda: augment.mixup(1), "num_classes"),
        (lambda: augment.cutmix(10, 0), "alpha"),
        (lambda: one_of(), "one_of"),
        (lambda: one_of(random_flip, pad(0), probabilities=(0.5, 0.6)), "add up"),
    ],
)
def test_bad_strengths_are_refused_when_the_transform_is_made(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(
    "transform, change, message",
    [
        (augment.random_crop(12, padding=1), {}, "12×12 does not fit into 9×7"),
        (augment.gaussian_blur(kernel=15), {}, "kernel of 15"),
        (augment.cutout(3, value=-1), {}, "0, 255"),
        (augment.rand_augment(fill=256), {}, "0, 255"),
        (augment.rand_augment(), {"image": jnp.float32}, "before normalise"),
        (augment.colour_jitter(), {"image": jnp.float32}, "before normalise"),
        (normalise(0, 1), {"image": jnp.float32}, "before normalise"),
        (normalise((0, 0), 1), {}, "2 channels"),
        (augment.cutmix(4), {}, "boxes"),
        (random_flip, {"segmentation": (2, 4, 4)}, "9×7 pixels"),
        (augment.horizontal_flip(mirrored_keypoints=(0,)), {}, "2 keypoints"),
        (random_flip, {}, "it is not known which: say so in the set"),
        (augment.vertical_flip(), {}, "give mirrored_keypoints, or leave the flip out"),
        (
            one_of(augment.random_shift(1), augment.resize(4)),
            {},
            "same keys, shapes and types",
        ),
        (sometimes(normalise(0, 1)), {}, "same keys, shapes and types"),
    ],
)
def test_what_does_not_fit_the_batch_is_refused(transform, change, message, images):
    batch = batch_of(images[:2])
    for name, form in change.items():
        fits = not isinstance(form, tuple)
        batch[name] = batch[name].astype(form) if fits else jnp.zeros(form, jnp.uint8)
    with pytest.raises(UsageError, match=message):
        jax.eval_shape(functools.partial(transform, KEY), batch)


def test_mixing_is_not_for_evaluation(images):
    batch = {"image": images, "label": jnp.zeros(64, jnp.int32)}
    with pytest.raises(UsageError, match="mixes the label"):
        augment.cutmix(4)(KEY, {"image": images})
    batch["mask"] = jnp.ones(64, bool)
    with pytest.raises(UsageError, match="mask of padding"):
        augment.cutmix(4)(KEY, batch)


def test_mixup_needs_floats(images):
    batch = {"image": images, "label": jnp.zeros(64, jnp.int32)}
    with pytest.raises(UsageError, match="after normalise"):
        augment.mixup(4)(KEY, batch)
