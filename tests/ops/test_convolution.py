"""Convolution against XLA's own: values, gradients, and every transformation."""

import itertools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvision.errors import UsageError
from jaxvision.ops import convolution
from jaxvision.ops.convolution import conv2d

PADDINGS = ["SAME", "VALID", 2, ((1, 0), (0, 2)), ((4, 3), (3, 4))]


def native(images, kernel, *, strides=1, padding="SAME", dilation=1, groups=1):
    if isinstance(strides, int):
        strides = (strides, strides)
    if isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(
        images,
        kernel,
        strides,
        padding,
        rhs_dilation=(dilation, dilation),
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def operands(batch=2, height=9, width=8, channels=3, out=5, kernel=(3, 3), seed=0):
    draw = np.random.default_rng(seed).standard_normal
    images = jnp.asarray(draw((batch, height, width, channels)), jnp.float32)
    return images, jnp.asarray(draw((*kernel, channels, out)), jnp.float32)


def gradients(convolve, images, kernel, **options):
    """Of Σ sin(y), whose cotangent differs at every position."""

    def loss(images, kernel):
        return jnp.sin(convolve(images, kernel, **options)).sum()

    return jax.grad(loss, (0, 1))(images, kernel)


def assert_close(got, wanted, tolerance=1e-5):
    """Within `tolerance` of the largest entry: what a different order of sums costs."""
    got, wanted = (jax.tree.map(np.asarray, tree) for tree in (got, wanted))
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * np.abs(w).max())


def test_is_cross_correlation():
    """y[i,j] = Σ x[2i+u, 2j+v] · kernel[u,v], written out."""
    images, kernel = operands()
    x, w = np.asarray(images), np.asarray(kernel)
    wanted = np.zeros((2, 4, 3, 5), np.float32)
    for i, j, u, v in itertools.product(range(4), range(3), range(3), range(3)):
        wanted[:, i, j] += x[:, 2 * i + u, 2 * j + v] @ w[u, v]
    got = conv2d(images, kernel, strides=2, padding="VALID")
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 4)], ids=str)
@pytest.mark.parametrize("strides", [1, 2, (3, 1)], ids=str)
def test_values_and_gradients_are_native(kernel, strides):
    """All paddings in one program: compiling is what takes the time."""
    images, kernel = operands(kernel=kernel)

    @partial(jax.jit, static_argnums=0)
    def sweep(convolve):
        options = [{"strides": strides, "padding": padding} for padding in PADDINGS]
        return [
            (convolve(images, kernel, **o), *gradients(convolve, images, kernel, **o))
            for o in options
        ]

    assert_close(sweep(conv2d), sweep(native))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 2), (5, 5)], ids=str)
@pytest.mark.parametrize("strides", [1, 2])
def test_maps_smaller_than_the_kernel_are_padded_first_and_native(size, strides):
    images, kernel = operands(3, *size, kernel=(5, 3))
    options = {"strides": strides, "padding": ((3, 2), (1, 4))}
    assert_close(conv2d(images, kernel, **options), native(images, kernel, **options))
    assert_close(
        gradients(conv2d, images, kernel, **options),
        gradients(native, images, kernel, **options),
    )
    program = str(jax.make_jaxpr(partial(conv2d, **options))(images, kernel))
    assert ("= pad[" in program) == (size[0] < 5 or size[1] < 3)


@pytest.mark.parametrize("batch", [1, 12, 32])
@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_of_large_maps_are_native_in_any_number_of_slices(batch, strides):
    """More than 16 channels and 14×14 outputs: the fast kernels, and the slices."""
    images, kernel = operands(batch, 29, 28, channels=4, out=18)
    wanted = gradients(native, images, kernel, strides=strides)
    got = jax.jit(partial(gradients, conv2d, strides=strides))(images, kernel)
    assert_close(got, wanted, 1e-4)


def test_batches_are_cut_into_slices_that_every_device_holds(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    large, small = (32, 32), (8, 8)
    assert convolution._slices(128, large, 64) == 8
    assert convolution._slices(16, large, 64) == 2
    assert convolution._slices(8, large, 64) == 1
    assert convolution._slices(100, large, 64) == 4  # on one device: 8 do not divide it
    assert convolution._slices(128, small, 64) == 1
    assert convolution._slices(128, large, 16) == 1


@pytest.mark.parametrize("options", [{"groups": 3}, {"dilation": 2}], ids=str)
def test_groups_and_dilation_are_native(options):
    images, kernel = operands(out=6)
    kernel = kernel[:, :, : 3 // options.get("groups", 1)]
    assert_close(conv2d(images, kernel, **options), native(images, kernel, **options))
    assert_close(
        gradients(conv2d, images, kernel, **options),
        gradients(native, images, kernel, **options),
    )


@pytest.mark.parametrize("shape", [(16, 15, 14, 2, 17), (2, 6, 7)], ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)], ids=str)
def test_second_derivatives_are_native(shape, kernel):
    images, kernel = operands(*shape, kernel=kernel)

    def penalty(convolve, images, kernel):
        """A gradient penalty: its gradient needs every second derivative."""
        by_images, by_kernel = gradients(convolve, images, kernel, strides=1)
        return jnp.square(by_images).sum() + jnp.square(by_kernel).sum()

    got = jax.jit(jax.grad(partial(penalty, conv2d), (0, 1)))(images, kernel)
    wanted = jax.jit(jax.grad(partial(penalty, native), (0, 1)))(images, kernel)
    assert_close(got, wanted, 1e-4)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_vmap(axes):
    images, kernel = operands(3, 6, 7)
    stacks = [
        a if axis is None else jnp.stack([a, 2 * a, -a])
        for a, axis in zip((images, kernel), axes, strict=True)
    ]
    got = jax.vmap(partial(gradients, conv2d), axes)(*stacks)
    assert_close(got, jax.vmap(partial(gradients, native), axes)(*stacks))


def test_gradients_per_example():
    images, kernel = operands(3, 15, 16)
    each = jax.vmap(lambda x: gradients(conv2d, x[None], kernel)[1])(images)
    assert_close(each.sum(0), gradients(native, images, kernel)[1])


def test_checkpoint_and_scan():
    """Gradients through checkpointed layers, taken inside a scanned training loop."""
    images, kernel = operands(16, 14, 15, channels=17, out=17)

    def descend(convolve):
        @jax.checkpoint
        def layer(images, kernel):
            return jnp.tanh(convolve(images, kernel))

        def loss(kernel):
            return jnp.square(layer(layer(images, kernel), kernel)).mean()

        def step(kernel, _):
            return kernel - 0.1 * jax.grad(loss)(kernel), loss(kernel)

        return jax.jit(lambda: lax.scan(step, kernel, length=3))()

    assert_close(descend(conv2d), descend(native))


def test_bfloat16():
    images, kernel = operands(64, 16, 16, out=17)
    exact = gradients(native, images, kernel)
    half = gradients(conv2d, *(a.astype(jnp.bfloat16) for a in (images, kernel)))
    for h, e in zip(half, exact, strict=True):
        assert h.dtype == jnp.bfloat16
        assert jnp.abs(h.astype(jnp.float32) - e).max() < 0.03 * jnp.abs(e).max()


def test_bfloat16_adds_its_slices_in_float32():
    """Eight slices of 8·13·17 ones: exact, unless partial sums are rounded."""
    images = jnp.ones((64, 15, 19, 1), jnp.bfloat16)
    kernel = jnp.ones((3, 3, 1, 17), jnp.bfloat16)
    by_kernel = jax.grad(lambda w: conv2d(images, w, padding="VALID").sum())(kernel)
    np.testing.assert_array_equal(by_kernel.astype(np.float32), 64 * 13 * 17)


def test_a_batch_on_eight_devices_stays_where_it_is():
    if jax.device_count() < 8:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=8")
    images, kernel = operands(32, 16, 16, out=17)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(images, NamedSharding(mesh, PartitionSpec("data")))
    everywhere = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))

    differentiate = jax.jit(partial(gradients, conv2d))
    by_images, by_kernel = differentiate(sharded, everywhere)
    assert_close((by_images, by_kernel), gradients(native, images, kernel))
    assert by_images.sharding.is_equivalent_to(sharded.sharding, 4)

    compiled = differentiate.lower(sharded, everywhere).compile().as_text()
    assert "all-reduce" in compiled
    for motion in ("all-gather", "all-to-all", "collective-permute"):
        assert motion not in compiled


def test_shard_map():
    if jax.device_count() < 8:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=8")
    images, kernel = operands(32, 16, 16, out=17)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data")

    def on_each_device(images, kernel):
        def convolve(images, kernel):
            return conv2d(images, lax.pcast(kernel, "data", to="varying"))

        return gradients(convolve, images, kernel)

    got = jax.shard_map(
        on_each_device,
        mesh=mesh,
        in_specs=(spec, PartitionSpec()),
        out_specs=(spec, PartitionSpec()),
    )(images, kernel)
    assert_close(got, gradients(native, images, kernel))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)], ids=str)
@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_are_canonical_convolutions(kernel, strides):
    """Any other order of axes is hundreds of times slower inside `lax.scan`."""
    images, kernel = operands(16, 28, 28, out=17, kernel=kernel)
    differentiate = partial(gradients, conv2d, strides=strides)
    jaxpr = str(jax.make_jaxpr(differentiate)(images, kernel))
    orders = re.findall(r"lhs_spec=(.*), rhs_spec=(.*), out_spec=([^)]*\))", jaxpr)
    assert len(orders) >= 2
    assert set(orders) == {("(0, 3, 1, 2)", "(3, 2, 0, 1)", "(0, 3, 1, 2)")}


def test_accelerators_get_the_plain_operation(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jaxpr = str(jax.make_jaxpr(conv2d)(*operands()))
    assert "conv_general_dilated" in jaxpr and "custom_vjp" not in jaxpr


def test_a_gradient_nobody_reads_is_not_computed():
    """The images of the first layer are data: their gradient is dead code."""
    images, kernel = operands(8, 16, 16)
    by_kernel = jax.jit(lambda x, w: gradients(conv2d, x, w)[1])
    hlo = by_kernel.lower(images, kernel).compile().as_text()
    assert hlo.count(" convolution(") < jax.jit(partial(gradients, conv2d)).lower(
        images, kernel
    ).compile().as_text().count(" convolution(")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "FULL"}, "padding must be"),
        ({"padding": -1}, "padding must be"),
        ({"padding": (1, 1)}, "padding must be"),
        ({"strides": 0}, "strides must be"),
        ({"strides": (1, 2, 3)}, "strides must be"),
        ({"dilation": 1.5}, "dilation must be"),
        ({"groups": 2}, r"3 channels × 2 groups and the images have 3"),
        ({"padding": "VALID", "dilation": 4}, r"9×9 does not fit a map of 9×8"),
    ],
    ids=str,
)
def test_bad_options_are_usage_errors(options, message):
    with pytest.raises(UsageError, match=message):
        conv2d(*operands(), **options)


def test_bad_operands_are_usage_errors():
    images, kernel = operands()
    with pytest.raises(UsageError, match=r"images have 2: got images \(2, 9, 8, 2\)"):
        conv2d(images[..., :2], kernel)
    with pytest.raises(UsageError, match=r"\[B,H,W,C\]"):
        conv2d(images[0], kernel)
    with pytest.raises(UsageError, match="cast one"):
        conv2d(images.astype(jnp.bfloat16), kernel)
