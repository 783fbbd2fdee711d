"""Pooling against windows cut out one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.errors import UsageError
from jaxvision.ops import pooling
from jaxvision.ops.pooling import (
    adaptive_avg_pool,
    avg_pool,
    global_avg_pool,
    l2_pool,
    max_pool,
    max_pool_with_switches,
    max_unpool,
    min_pool,
    over_depth,
)

GEOMETRIES = [
    (2, None, "VALID"),
    (3, None, "VALID"),  # drops what is left over
    ((2, 3), None, "VALID"),
    (2, 2, "SAME"),
    (3, 2, "SAME"),
    (3, 2, 1),
    (2, 1, "VALID"),
    ((3, 2), (1, 2), ((1, 2), (0, 1))),
    (2, 3, "VALID"),  # windows with gaps between them
]


def images(shape=(2, 9, 8, 3), dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), dtype)


def pooled(x, window, strides, padding, reduce, fill):
    """Each window cut out and reduced by numpy."""
    window = np.broadcast_to(window, 2)
    strides = window if strides is None else np.broadcast_to(strides, 2)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    elif isinstance(padding, int):
        padding = [(padding, padding)] * 2
    x = np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=fill)
    h, w = ((np.array(x.shape[1:3]) - window) // strides) + 1
    out = np.empty((x.shape[0], h, w, x.shape[3]), x.dtype)
    for i in range(h):
        for j in range(w):
            top, left = i * strides[0], j * strides[1]
            cut = x[:, top : top + window[0], left : left + window[1]]
            out[:, i, j] = reduce(cut, axis=(1, 2))
    return out


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_values(geometry):
    x = images()
    given = np.asarray(x)
    close = dict(rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(
        max_pool(x, *geometry), pooled(given, *geometry, np.max, -np.inf)
    )
    np.testing.assert_allclose(
        avg_pool(x, *geometry), pooled(given, *geometry, np.nanmean, np.nan), **close
    )
    np.testing.assert_allclose(
        avg_pool(x, *geometry, count_include_pad=True),
        pooled(given, *geometry, np.mean, 0.0),
        **close,
    )


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_smallest_values_and_norms(geometry):
    x = images()
    given = np.asarray(x)
    np.testing.assert_array_equal(
        min_pool(x, *geometry), pooled(given, *geometry, np.min, np.inf)
    )
    roots = np.sqrt(pooled(given**2, *geometry, np.sum, 0.0))
    np.testing.assert_allclose(l2_pool(x, *geometry), roots, rtol=1e-5)


def test_pooling_of_bytes_does_not_overflow():
    x = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 4), np.uint8)
    smallest = min_pool(jnp.asarray(x), 3)
    assert smallest.dtype == jnp.uint8
    np.testing.assert_array_equal(smallest, pooled(x, 3, None, "VALID", np.min, 255))
    sums = pooled(x.astype(float) ** 2, 3, None, "VALID", np.sum, 0)
    np.testing.assert_allclose(l2_pool(jnp.asarray(x), 3), np.sqrt(sums), rtol=1e-6)
    lowest = over_depth(min_pool, jnp.asarray(x), 2)
    np.testing.assert_array_equal(lowest, x.reshape(1, 6, 6, 2, 2).min(-1))
    flat = jax.grad(lambda x: l2_pool(x, 2).sum())(jnp.zeros((1, 4, 4, 1)))
    np.testing.assert_array_equal(flat, np.zeros((1, 4, 4, 1)))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("pool", [max_pool, avg_pool])
def test_gradients_are_those_of_finite_differences(pool, geometry):
    x = images((1, 9, 8, 1)) * 10  # no two pixels within a step of each other
    direction = jnp.arange(72.0).reshape(1, 9, 8, 1) / 72
    weights = jnp.cos(jnp.arange(pool(x, *geometry).size))

    @jax.jit
    def loss(x):
        return (pool(x, *geometry).ravel() * weights).sum()

    step = 1e-2
    measured = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    got = (jax.grad(loss)(x) * direction).sum()
    np.testing.assert_allclose(got, measured, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("strides", [1, 2])
def test_the_first_of_the_largest_gets_the_gradient(strides):
    tied = jnp.ones((1, 2, 2, 1))
    first = jax.grad(lambda x: max_pool(x, 2, strides).sum())(tied)
    np.testing.assert_array_equal(first[0, :, :, 0], [[1, 0], [0, 0]])


def test_gradient_arrives_although_the_output_is_rounded_otherwise(monkeypatch):
    """As when XLA computes the images twice, in a different order each time."""
    exact = pooling._max_of_windows
    monkeypatch.setattr(
        pooling, "_max_of_windows", lambda *arguments: exact(*arguments) * (1 + 1e-6)
    )
    given = jax.grad(lambda x: max_pool(x, 2).sum())(images((2, 8, 8, 3)))
    np.testing.assert_array_equal(np.unique(given), [0, 1])
    assert given.sum() == 2 * 4 * 4 * 3


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
def test_windows_that_do_not_overlap_never_meet_reduce_window(pool):
    def primitives(*geometry):
        gradient = jax.grad(lambda x: pool(x, *geometry).sum())
        return str(jax.make_jaxpr(gradient)(images((2, 8, 8, 3))))

    slow = ("reduce_window", "select_and")
    assert not any(name in primitives(2) for name in slow)
    assert not any(name in primitives(2, 2, "SAME") for name in slow)  # nothing to pad
    assert any(name in primitives(3, 2) for name in slow)


def test_types():
    half = images(dtype=jnp.bfloat16)
    whole = (images() * 100).astype(jnp.int32)
    for geometry in [(2,), (3, 2, "SAME")]:
        assert max_pool(half, *geometry).dtype == jnp.bfloat16
        assert avg_pool(half, *geometry).dtype == jnp.bfloat16
        assert max_pool(whole, *geometry).dtype == jnp.int32
        assert avg_pool(whole, *geometry).dtype == jnp.float32
    padded = max_pool(whole, 3, 2, "SAME")
    assert padded.min() > jnp.iinfo(jnp.int32).min


def test_global_avg_pool():
    x = images()
    assert global_avg_pool(x).shape == (2, 3)
    np.testing.assert_allclose(
        global_avg_pool(x), np.asarray(x).mean((1, 2)), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
def test_bad_arguments_are_usage_errors(pool):
    x = images()
    with pytest.raises(UsageError, match="10×10 does not fit a map of 9×8"):
        pool(x, 10)
    with pytest.raises(UsageError, match="window must be"):
        pool(x, 0)
    with pytest.raises(UsageError, match="strides must be"):
        pool(x, 2, (2, 0))
    with pytest.raises(UsageError, match="padding must be"):
        pool(x, 2, 2, "full")
    with pytest.raises(UsageError, match="holds a whole window"):
        pool(x, 2, 2, 2)
    with pytest.raises(UsageError, match=r"\[B,H,W,C\]"):
        pool(x[0], 2)


@pytest.mark.parametrize(
    "size, window, strides, padding, outputs",
    # Sizes that PyTorch's MaxPool2d(ceil_mode=True) gives.
    [
        (9, 2, 2, 0, 5),
        (8, 3, 2, 0, 4),
        (7, 3, 2, 0, 3),
        (8, 3, 2, 1, 5),
        # The sixth window would begin in the padding at the end.
        (9, 2, 2, 1, 5),
        (2, 3, 1, 1, 2),
        # Smaller than the window.
        (2, 3, 2, 0, 1),
    ],
)
def test_ceil_mode_pools_what_is_left_over(size, window, strides, padding, outputs):
    x = images((1, size, size, 2))
    y = max_pool(x, window, strides, padding, ceil_mode=True)
    assert y.shape == (1, outputs, outputs, 2)
    given = np.pad(
        x, [(0, 0), *[(padding, padding + window)] * 2, (0, 0)], constant_values=-np.inf
    )
    for i in range(outputs):
        for j in range(outputs):
            top, left = i * strides, j * strides
            cut = given[:, top : top + window, left : left + window]
            np.testing.assert_array_equal(y[:, i, j], cut.max((1, 2)))


@pytest.mark.parametrize("size", [(6, 6), (3, 4), (9, 8), (12, 1), (1, 1)])
def test_adaptive_average_covers_the_map(size):
    x = images()
    y = adaptive_avg_pool(x, size)
    assert y.shape == (2, *size, 3)
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(i * 9 // size[0], -(-(i + 1) * 9 // size[0]))
            columns = slice(j * 8 // size[1], -(-(j + 1) * 8 // size[1]))
            np.testing.assert_allclose(
                y[:, i, j], np.asarray(x)[:, rows, columns].mean((1, 2)), atol=1e-6
            )
    assert adaptive_avg_pool(x.astype(jnp.bfloat16), size).dtype == jnp.bfloat16


def test_ceil_mode_needs_a_window_that_begins_before_the_end():
    with pytest.raises(UsageError, match="does not fit"):
        max_pool(images((1, 1, 1, 2)), 3, 2, ceil_mode=True)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", [2, (2, 3)])
def test_switches_are_the_places_of_the_first_of_the_largest(window, ceil_mode):
    draw = np.random.default_rng(0).integers(-2, 3, (2, 7, 8, 3))  # with many ties
    x = jnp.asarray(draw, jnp.float32)
    pooled, switches = max_pool_with_switches(x, window, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(pooled, max_pool(x, window, ceil_mode=ceil_mode))
    places = np.asarray(switches)
    assert places.dtype == np.uint8

    rows, columns = np.broadcast_to(window, 2)
    back, given = np.zeros_like(draw), np.zeros_like(draw)
    dy = np.random.default_rng(1).integers(1, 9, pooled.shape)
    for b, i, j, c in np.ndindex(pooled.shape):
        cut = draw[b, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns, c]
        u, v = np.unravel_index(cut.argmax(), cut.shape)
        assert places[b, i, j, c] == u * columns + v
        back[b, i * rows + u, j * columns + v, c] = cut.max()
        given[b, i * rows + u, j * columns + v, c] = dy[b, i, j, c]

    def unpooled(maps):
        return max_unpool(maps, switches, window, (7, 8))

    np.testing.assert_array_equal(unpooled(pooled), back)

    # The gradients: pooling's is unpooling, and unpooling's is pooling by the switches.
    def pool(x):
        return max_pool_with_switches(x, window, ceil_mode=ceil_mode)[0]

    (dx,) = jax.vjp(pool, x)[1](jnp.asarray(dy, jnp.float32))
    np.testing.assert_array_equal(dx, given)
    (dpooled,) = jax.vjp(unpooled, pooled)[1](jnp.asarray(given, jnp.float32))
    np.testing.assert_array_equal(dpooled, dy)


def test_unpooling_selects_and_never_scatters():
    def roundtrip(x):
        return max_unpool(*max_pool_with_switches(x, 2), 2, x.shape[1:3]).sum()

    program = str(jax.make_jaxpr(jax.grad(roundtrip))(images((2, 8, 8, 3))))
    assert "select_n" in program
    assert not any(name in program for name in ("scatter", "gather", "sort"))
    half = max_pool_with_switches(images(dtype=jnp.bfloat16), 3)
    assert max_unpool(*half, 3, (9, 8)).dtype == jnp.bfloat16


def test_switches_of_another_map_are_refused():
    pooled, switches = max_pool_with_switches(images(), 2)
    with pytest.raises(UsageError, match="4×4 windows of 2×2 do not come from a map"):
        max_unpool(pooled, switches, 2, (9, 10))
    with pytest.raises(UsageError, match="of one shape"):
        max_unpool(pooled, switches[:1], 2, (9, 8))
    with pytest.raises(UsageError, match="10×10 does not fit a map of 9×8"):
        max_pool_with_switches(images(), 10)
