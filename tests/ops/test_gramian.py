"""Gramian angular fields of a real series, against the trigonometry of the paper."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops.gramian import (
    angular_difference,
    angular_summation,
    piecewise_average,
    rescale,
)


@pytest.fixture(scope="module")
def eeg():
    """Four channels of an electroencephalogram, 200 samples, which matplotlib has."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "sample_data" / "eeg.dat"
    return np.fromfile(file, float).reshape(800, 4).T[:, :200]


def angles(series):
    """Equations 1 and 3, one by one, in double precision."""
    out = np.empty_like(series)
    for t, value in enumerate(series):
        high, low = max(series), min(series)
        out[t] = np.arccos(((value - high) + (value - low)) / (high - low))
    return out


def test_fields_are_the_sums_and_differences_of_angles(eeg):
    summed = np.asarray(angular_summation(jnp.asarray(eeg, jnp.float32)))
    different = np.asarray(angular_difference(jnp.asarray(eeg, jnp.float32)))
    for k, series in enumerate(eeg):
        phi = angles(series)
        for got, wanted in (
            (summed[k], np.cos(phi[:, None] + phi[None, :])),
            (different[k], np.sin(phi[:, None] - phi[None, :])),
        ):
            # Near the ends of its range arccos is steep, and float32 has seven digits.
            np.testing.assert_allclose(got, wanted, atol=2e-3)
    np.testing.assert_allclose(summed, np.swapaxes(summed, 1, 2))
    np.testing.assert_allclose(different, -np.swapaxes(different, 1, 2))
    assert np.abs(summed).max() <= 1 + 1e-6 and np.abs(different).max() <= 1 + 1e-6


def test_the_diagonal_of_the_summation_holds_the_series(eeg):
    field = angular_summation(jnp.asarray(eeg, jnp.float32))
    diagonal = np.diagonal(field, axis1=1, axis2=2)
    x = np.asarray(rescale(jnp.asarray(eeg, jnp.float32)))
    np.testing.assert_allclose(np.sqrt((diagonal + 1) / 2), np.abs(x), atol=1e-3)


@pytest.mark.parametrize("size", [1, 7, 50, 64, 199, 200])
def test_averages_are_those_of_equal_stretches(eeg, size):
    got = piecewise_average(jnp.asarray(eeg, jnp.float32), size)
    # Each value as many times as there are stretches makes every stretch whole.
    wanted = np.repeat(eeg, size, axis=1).reshape(len(eeg), size, 200).mean(2)
    assert got.shape == (4, size)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(eeg).max())


def test_rescaled_series_reach_from_minus_one_to_one(eeg):
    x = np.asarray(rescale(jnp.asarray(eeg, jnp.float32)))
    np.testing.assert_array_equal(x.min(1), -1)
    np.testing.assert_array_equal(x.max(1), 1)


def test_a_constant_series_is_zero_and_its_fields_are_finite():
    flat = jnp.full((2, 5), 3.0)
    np.testing.assert_array_equal(rescale(flat), 0)
    np.testing.assert_array_equal(angular_difference(flat), 0)
    np.testing.assert_array_equal(angular_summation(flat), -1)  # cos(π/2 + π/2)


def test_alone_batched_and_in_jit_are_the_same(eeg):
    eeg = jnp.asarray(eeg, jnp.float32)

    def field(series):
        return angular_difference(piecewise_average(series, 32))

    alone = jnp.stack([field(series) for series in eeg])
    for together in (field(eeg), jax.vmap(field)(eeg), jax.jit(field)(eeg)):
        np.testing.assert_allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("size", [0, 11, -1])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(UsageError, match=f"from 1 to the 10 values .* got {size}"):
        piecewise_average(jnp.ones(10), size)
