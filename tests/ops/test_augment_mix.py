"""Mixup and CutMix: images and labels in the same shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops import augment

COUNT, CLASSES = 64, 5
KEY = jax.random.key(0)


# Drawing from Beta is slow to compile: each form of a batch is compiled once.
@jax.jit
def mixup(batch, alpha, key):
    return augment.mixup(CLASSES, alpha)(key, batch)


@jax.jit
def cutmix(batch, probability):
    return augment.cutmix(CLASSES, probability=probability)(KEY, batch)


def batch_of(dtype=jnp.float32):
    """Image i is of the one value i, so that a mixture shows its shares."""
    values = jnp.arange(COUNT, dtype=dtype)[:, None, None, None]
    images = jnp.broadcast_to(values, (COUNT, 12, 16, 1))
    return {"image": images, "label": jnp.arange(COUNT) % CLASSES}


def shares_of(target, label):
    """The own share, from targets between `label` and that of the one before."""
    one_hot = np.eye(CLASSES)[np.asarray(label)]
    other = np.roll(one_hot, 1, axis=0)
    share = (np.asarray(target) * one_hot).sum(1)
    np.testing.assert_allclose(
        target, share[:, None] * one_hot + (1 - share)[:, None] * other, atol=1e-6
    )
    return share


def test_mixup_mixes_images_as_labels():
    batch = batch_of()
    after = mixup(batch, 0.4, KEY)
    share = shares_of(after["target"], batch["label"])
    values = np.arange(COUNT)
    expected = share * values + (1 - share) * np.roll(values, 1)
    got = np.asarray(after["image"])
    np.testing.assert_allclose(got.mean((1, 2, 3)), expected, atol=1e-3)
    assert got.std((1, 2, 3)).max() < 1e-4
    # Beta(α, α): mean ½, variance 1 / (4 (2α + 1)).
    targets = [mixup(batch, 0.4, key)["target"] for key in jax.random.split(KEY, 60)]
    share = np.concatenate([shares_of(target, batch["label"]) for target in targets])
    np.testing.assert_allclose(share.mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(share.var(), 1 / 4 / 1.8, rtol=0.05)
    # The label is that of the greater part.
    label = np.asarray(after["label"])
    assert (np.asarray(after["target"])[np.arange(COUNT), label] >= 0.5).all()


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_cutmix_pastes_one_rectangle_and_its_share_of_the_label(dtype):
    batch = batch_of(dtype)
    after = cutmix(batch, 1.0)
    assert after["image"].dtype == dtype
    share = shares_of(after["target"], batch["label"])
    own = np.asarray(after["image"])[..., 0] == np.arange(COUNT)[:, None, None]
    others = np.roll(np.arange(COUNT), 1)[:, None, None]
    assert (np.asarray(after["image"])[..., 0][~own] == (own * 0 + others)[~own]).all()
    np.testing.assert_allclose(own.mean((1, 2)), share, atol=1e-6)
    height, width = (~own).any(2).sum(1), (~own).any(1).sum(1)
    np.testing.assert_array_equal((~own).sum((1, 2)), height * width)
    assert share.min() < 0.3 and share.max() > 0.9


def test_probability_leaves_the_others_alone():
    batch = batch_of()
    after = cutmix(batch, 0.5)
    alone = shares_of(after["target"], batch["label"]) == 1
    np.testing.assert_array_equal(after["image"][alone], batch["image"][alone])
    assert 20 < alone.sum() < 50


def test_mixtures_of_mixtures_are_distributions():
    target = mixup(cutmix(batch_of(), 1.0), 0.2, KEY)["target"]
    np.testing.assert_allclose(target.sum(1), 1, atol=1e-5)
    assert ((target > 0).sum(1) > 2).any()
    with pytest.raises(UsageError, match="num_classes is 7"):
        jax.eval_shape(augment.mixup(7), KEY, batch_of() | {"target": target})
