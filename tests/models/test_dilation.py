"""Strides that became dilations: networks see the same, at more positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.layers.dilation import Sampling, dilate
from jaxvision.ops import convolution


def test_a_stride_dilates_what_comes_after_it():
    found = dilate([1, 2, 1, 2, 2, 1], 8, stem_stride=4)
    assert found == [
        Sampling(1, 1, 1),
        Sampling(2, 1, 1),
        Sampling(1, 1, 1),
        Sampling(1, 1, 2),
        Sampling(1, 2, 4),
        Sampling(1, 4, 4),
    ]


@pytest.fixture
def convolution_as_on_accelerators(monkeypatch):
    """The forms for CPU have tests of their own, and take the compiler far longer."""
    monkeypatch.setattr(convolution.cpu, "convolve", convolution.native.convolve)


@pytest.mark.usefixtures("convolution_as_on_accelerators")
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    "name, options, stage",
    [
        ("resnet18", dict(width=4), "stage4"),
        pytest.param(
            *("resnet50", dict(width=16, depths=(1, 1, 2, 2)), "stage4"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("mobilenet_v2", dict(width=0.25), "stage5"), marks=pytest.mark.slow
        ),
    ],
)
def test_dilated_networks_compute_the_strided_ones_between_more(
    name, options, stage, output_stride
):
    images = np.random.default_rng(0).standard_normal((1, 64, 96, 3), np.float32)
    strided = models.create(name, num_classes=0, **options)
    dilated = models.create(name, num_classes=0, output_stride=output_stride, **options)
    shapes = jax.eval_shape(strided.init, jax.random.key(0), images)
    variables = jax.tree.map(values, shapes)
    few, many = (run(model, variables, images)[stage] for model in (strided, dilated))
    assert many.shape[1:3] == (64 // output_stride, 96 // output_stride)
    step = 32 // output_stride
    scale = jnp.abs(few).max()
    assert jnp.ptp(few, (1, 2)).max() > 0.1 * scale
    np.testing.assert_allclose(many[:, ::step, ::step] / scale, few / scale, atol=1e-4)


def values(leaf):
    """Kernels that keep the variance of their inputs, and other arrays around 1."""
    rng = np.random.default_rng(leaf.shape)
    if len(leaf.shape) < 4:
        return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    fan_in = np.prod(leaf.shape[:-1])
    return rng.normal(0, np.sqrt(2 / fan_in), leaf.shape).astype(np.float32)


def run(model, variables, images):
    return jax.jit(lambda v, x: model.apply(v, x)[0])(variables, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "seresnet50", "mobilenet_v2", "mobilenet_v3_small"]
)
def test_parameters_and_levels_of_dilated_networks(name):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    strided, dilated = models.create(name), models.create(name, output_stride=8)
    one, two = (
        jax.eval_shape(model.init, jax.random.key(0), images)
        for model in (strided, dilated)
    )
    assert one == two
    deepest = models.levels(name)[32]
    assert list(models.levels(dilated)) == [2, 4, 8]
    assert models.levels(dilated)[8] == (deepest.name, 8, deepest.channels)


def test_other_output_strides_are_refused():
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    for name in ("resnet18", "mobilenet_v2", "mobilenet_v3_small"):
        model = models.create(name, output_stride=4)
        with pytest.raises(UsageError, match="must be 8, 16 or 32, got 4"):
            jax.eval_shape(model.init, jax.random.key(0), images)
