"""RoIAlign against torchvision, and its gradients."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.ops.roi_align import roi_align, roi_align_of_levels
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
