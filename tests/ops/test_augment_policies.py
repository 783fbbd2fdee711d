"""Policies: every operation as Pillow does it, drawn as the papers say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from jaxvision.ops import augment
from jaxvision.ops.augment import operations, policies
from jaxvision.ops.augment.operations import Drawn, Operation, Ranges
from jaxvision.ops.augment.sub_policies import POLICIES

KEY = jax.random.key(0)
SIDE = 30
RANGES = policies.NARROW._replace(translation=lambda side: 9)


def apply(batch, drawn):
    return operations.apply(
        batch, drawn, RANGES, method="nearest", fill=128, min_visible=0.1
    )


def pillow(image: Image.Image, operation: Operation, strength: float, sign: float):
    """One operation in the words of Pillow, as the published policies use it."""

    def transformed(*numbers):
        affine = Image.Transform.AFFINE
        return image.transform(image.size, affine, numbers, fillcolor=(128,) * 3)

    signed, factor = sign * strength, 1 + sign * strength * 0.9
    match operation.name:
        case "SHEAR_X":
            return transformed(1, -0.3 * signed, 0, 0, 1, 0)
        case "SHEAR_Y":
            return transformed(1, 0, 0, -0.3 * signed, 1, 0)
        case "TRANSLATE_X":
            return transformed(1, 0, -9 * signed, 0, 1, 0)
        case "TRANSLATE_Y":
            return transformed(1, 0, 0, 0, 1, -9 * signed)
        case "ROTATE":
            return image.rotate(-30 * signed, fillcolor=(128,) * 3)
        case "BRIGHTNESS":
            return ImageEnhance.Brightness(image).enhance(factor)
        case "CONTRAST":
            return ImageEnhance.Contrast(image).enhance(factor)
        case "COLOR":
            return ImageEnhance.Color(image).enhance(factor)
        case "SHARPNESS":
            return ImageEnhance.Sharpness(image).enhance(factor)
        case "POSTERIZE":
            return ImageOps.posterize(image, 8 - round(4 * strength))
        case "SOLARIZE":
            return ImageOps.solarize(image, 256 * (1 - strength))
        case "AUTO_CONTRAST":
            return ImageOps.autocontrast(image)
        case "EQUALIZE":
            return ImageOps.equalize(image)
        case "INVERT":
            return ImageOps.invert(image)
    return image


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (len(Operation), SIDE, SIDE, 3))
    return (noise // 2 + 40).astype(np.uint8)


def test_each_image_gets_its_own_operation_as_pillow_does_it(images):
    """All operations in one batch; within 1, of a factor's rounding."""
    compiled = jax.jit(apply)
    every = jnp.array(list(Operation))
    for strength, sign in ((0.0, 1.0), (0.6, -1.0), (1.0, 1.0)):
        drawn = Drawn(
            every,
            jnp.full(len(every), strength, jnp.float32),
            jnp.full(len(every), sign, jnp.float32),
        )
        after = np.asarray(compiled({"image": images}, drawn)["image"]).astype(int)
        for operation, image, ours in zip(Operation, images, after, strict=True):
            expected = pillow(Image.fromarray(image), operation, strength, sign)
            far = np.abs(ours - np.asarray(expected))
            # A few pixels lie on the border of two, where either is the nearest.
            assert (far > 1).mean() < 0.01, (operation, strength, sign)
            assert (far > 0).mean() < 0.05, (operation, strength, sign)
        unchanged = [*map(Operation, range(10)), Operation.COLOR, Operation.SHARPNESS]
        if strength == 0:
            np.testing.assert_array_equal(after[unchanged], images[unchanged])


def test_boxes_and_masks_move_with_warps_alone(images):
    drawn = Drawn(
        jnp.array(list(Operation)),
        jnp.full(len(Operation), 1.0),
        jnp.full(len(Operation), 1.0),
    )
    boxes = jnp.broadcast_to(jnp.array([12.0, 12, 16, 18]), (len(Operation), 1, 4))
    batch = {
        "image": jnp.asarray(images),
        "boxes": boxes,
        "classes": jnp.zeros((len(Operation), 1), jnp.int32),
        "segmentation": jnp.asarray(images[..., 0]),
    }
    after = jax.jit(apply)(batch, drawn)
    moved = (after["boxes"] != boxes).any((1, 2))
    warps = [operation in range(1, 6) for operation in Operation]
    assert moved.tolist() == warps
    same = (after["segmentation"] == batch["segmentation"]).all((1, 2))
    assert same.tolist() == [not warp for warp in warps]
    shifted = after["boxes"][Operation.TRANSLATE_X, 0]
    assert shifted.tolist() == [21, 12, 25, 18]


@pytest.fixture
def draws(monkeypatch):
    """What a policy draws, instead of what it does."""
    seen = []

    def record(batch, drawn, ranges: Ranges, **options):
        seen.append((*map(np.asarray, drawn), ranges))
        return batch

    monkeypatch.setattr(operations, "apply", record)
    return seen


BATCH = {"image": jnp.zeros((6000, 2, 2, 3), jnp.uint8)}


def test_rand_augment_draws_every_operation_alike_at_one_strength(draws):
    augment.rand_augment(3, 7)(KEY, BATCH)
    assert len(draws) == 3
    for which, strength, sign, ranges in draws:
        counts = np.bincount(which, minlength=len(Operation))
        assert counts[Operation.INVERT] == 0
        others = np.delete(counts, Operation.INVERT)
        assert others.min() > 340 and others.max() < 520  # 429 of each, give or take
        np.testing.assert_allclose(strength, 0.7)
        assert set(sign.tolist()) == {1, -1} and abs(sign.mean()) < 0.05
        assert ranges == policies.NARROW
    assert 0.04 < (draws[0][0] == draws[1][0]).mean() < 0.11  # one in fourteen


def test_trivial_augment_draws_one_operation_and_one_of_31_strengths(draws):
    augment.trivial_augment()(KEY, BATCH)
    [(which, strength, _, ranges)] = draws
    assert set(which.tolist()) == set(Operation) - {Operation.INVERT}
    levels, counts = np.unique(np.round(strength * 30, 4), return_counts=True)
    assert levels.tolist() == list(range(31))
    assert counts.min() > 130 and counts.max() < 260
    assert ranges == policies.WIDE


@pytest.mark.parametrize("policy", POLICIES)
def test_auto_augment_draws_its_pairs_with_their_probabilities(policy, draws):
    augment.auto_augment(policy)(KEY, BATCH)
    assert len(draws) == 2 and len(POLICIES[policy]) == 25
    for index, (which, strength, _, _) in enumerate(draws):
        expected = np.zeros(len(Operation))
        for pair in POLICIES[policy]:
            operation, probability, level = pair[index]
            expected[operation] += probability / 25
            expected[Operation.IDENTITY] += (1 - probability) / 25
            if probability > 0:
                at = strength[which == operation]
                assert np.isclose(at, level / 9).any()
        got = np.bincount(which, minlength=len(Operation)) / len(which)
        np.testing.assert_allclose(got, expected, atol=0.025)


def test_the_second_step_belongs_to_the_first(draws):
    """In the policy of ImageNet, brightening comes never, inverting before equalize."""
    augment.auto_augment("imagenet")(KEY, BATCH)
    first, second = draws[0][0], draws[1][0]
    assert Operation.BRIGHTNESS not in {*first.tolist(), *second.tolist()}
    after = second[first == Operation.INVERT]
    assert set(after.tolist()) == {Operation.EQUALIZE}
