"""RoIAlign against torchvision, and its gradients."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops.roi_align import (
    levels_of,
    roi_align,
    roi_align_of_each,
    roi_align_of_levels,
)
from tools import box_inputs as inputs
from tools.parity_inputs import probe

REFERENCES = json.loads((Path(__file__).parent / "boxes.json").read_text())
MAPS = [inputs.features(str(size), *size) for size in inputs.LEVELS]
SIZE = (3, 4)


def close(got, reference):
    assert list(got.shape) == reference["shape"]
    got = np.asarray(got).reshape(-1)[probe(got.shape)]
    np.testing.assert_allclose(got, reference["values"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [2, None])
@pytest.mark.parametrize("aligned", [False, True])
def test_values_and_gradients_are_torchvisions(aligned, samples):
    name = f"roi_align_{'shifted' if aligned else 'plain'}_{samples or 0}"

    def pool(features):
        return roi_align(
            features,
            jnp.asarray(inputs.ROIS),
            size=SIZE,
            scale=1 / 8,
            samples=samples,
            aligned=aligned,
        )

    def loss(features):
        pooled = pool(features)
        weights = jnp.cos(jnp.arange(pooled.size, dtype=jnp.float32))
        return (pooled * weights.reshape(pooled.shape)).sum(), pooled

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, pooled), gradient = run(jnp.asarray(MAPS[0]))
    close(pooled, REFERENCES[name])
    close(gradient, REFERENCES[f"{name}_gradient"])


def test_each_box_may_have_a_map_of_its_own():
    maps = inputs.features("masks", 96, 128, 2) > 0
    rois, which = jnp.asarray(inputs.ROIS), jnp.arange(len(inputs.ROIS)) % 2

    @jax.jit
    def both(maps, rois):
        pool = partial(roi_align, scale=1.0, size=(5, 5), samples=None, aligned=False)
        of_all = pool(maps.astype(jnp.float32), rois)
        mine = jnp.take_along_axis(of_all, which[:, None, None, None], 3)[..., 0]
        apart = jnp.moveaxis(maps, -1, 0).astype(jnp.uint8)
        return roi_align_of_each(apart, rois, which, side=5), mine

    np.testing.assert_allclose(*both(maps, rois), atol=1e-5)


def test_aligned_masks_are_cut_at_whole_pixels():
    draw = np.random.default_rng(0)
    maps = draw.integers(0, 2, (2, 9, 8)).astype(np.uint8)
    boxes = jnp.asarray([[2.0, 3, 6, 7], [0, 0, 8, 8]])
    which = jnp.asarray([1, 0])
    given = jnp.asarray(maps), boxes, which
    cut = roi_align_of_each(*given, side=4, aligned=True)
    np.testing.assert_array_equal(cut[0], maps[1, 3:7, 2:6])
    means = maps[0, :8].reshape(4, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(cut[1], means, atol=1e-6)
    shifted = roi_align_of_each(*given, side=4)
    over = maps[1].astype(np.float32)[3:8, 2:7]  # half a pixel on, in both directions
    over = (over[1:] + over[:-1]) / 2
    np.testing.assert_allclose(shifted[0], (over[:, 1:] + over[:, :-1]) / 2, atol=1e-6)


def test_levels_are_torchvisions():
    pooled = jax.jit(
        lambda maps, rois: roi_align_of_levels(
            maps,
            rois,
            strides=(8, 16, 32),
            size=SIZE,
            samples=2,
            aligned=False,
            canonical=(32, 4),
        )
    )(MAPS, inputs.ROIS)
    close(pooled, REFERENCES["multi_scale"])


def test_each_box_is_pooled_from_its_level():
    boxes = jnp.asarray(
        [[0.0, 0.0, side, side] for side in (0, 111, 112, 224, 448, 9e3)]
    )
    assert levels_of(boxes, (4, 8, 16, 32)).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize("samples", [1, None])
def test_boxes_that_are_nowhere_are_zero_and_halves_are_added_up_in_full(samples):
    nowhere = jnp.asarray([[jnp.nan] * 4, [9e9] * 4, [-50.0, -50.0, -40.0, -40.0]])
    whole = jnp.asarray([[0.0, 0.0, 128.0, 96.0]])
    maps = jnp.full((12, 16, 2), 1.0, jnp.bfloat16)

    @jax.jit
    def pull(maps, boxes):
        pooled, back = jax.vjp(
            lambda x: roi_align(x, boxes, size=SIZE, scale=1 / 8, samples=samples), maps
        )
        return pooled, back(jnp.ones_like(pooled))[0]

    pooled, gradient = pull(maps, jnp.concatenate([nowhere, whole]))
    assert pooled.dtype == gradient.dtype == jnp.bfloat16
    assert not pooled[:3].any() and (pooled[3] == 1).all()
    assert gradient.astype(jnp.float32).sum() == pytest.approx(24, rel=0.02)


def test_bad_pooling_is_named():
    maps, boxes = MAPS[0], inputs.ROIS
    with pytest.raises(UsageError, match="at least 1, got"):
        roi_align(maps, boxes, size=(0, 3), scale=1)
    with pytest.raises(UsageError, match="3 levels and 2 strides"):
        roi_align_of_levels(MAPS, boxes, strides=(8, 16), size=SIZE)
