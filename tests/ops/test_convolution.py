"""Convolution against XLA's own, in all its forms and under every transformation.

Images and kernels are arguments of what is compiled: of constants XLA would compute the
convolutions itself, while it compiles, and many times slower.
"""

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
from jaxvision.ops.convolution import Geometry, conv2d, cpu, native
from jaxvision.ops.convolution.cpu import slices, winograd

PADDINGS = ["SAME", "VALID", 2, ((1, 0), (0, 2)), ((4, 3), (3, 4))]


def whole(form):
    return {("WHOLE", form)}


def parts(output, by_images, by_kernel):
    return {
        ("WHOLE", "by parts"),
        ("OUTPUT", output),
        ("INPUT_GRADIENT", by_images),
        ("WEIGHT_GRADIENT", by_kernel),
    }


# Images, kernel and options of a convolution, and the lines of the tables in `cpu` that
# it must take without oneDNN, and those with it.
FORMS = {
    "depthwise": (
        ((16, 9, 8, 12), (3, 3, 1, 24), dict(groups=12)),
        whole("shifted"),
        parts("plain", "plain", "shifted"),
    ),
    "one channel a group": (
        ((16, 9, 8, 12), (3, 2, 1, 12), dict(groups=12, padding=((2, 0), (0, 3)))),
        whole("shifted"),
        parts("plain", "plain", "shifted"),
    ),
    "one channel a group, large maps": (
        ((8, 74, 90, 20), (3, 3, 1, 20), dict(groups=20, strides=(2, 1))),
        whole("shifted"),
        parts("plain", "plain", "shifted"),
    ),
    "small groups": (
        ((16, 9, 8, 12), (3, 3, 4, 6), dict(groups=3, strides=2)),
        whole("shifted"),
        parts("plain", "plain", "onednn"),
    ),
    "large groups": (
        ((16, 7, 6, 72), (3, 3, 24, 36), dict(groups=3)),
        whole("blocks") | parts("plain", "plain", "plain"),
        parts("plain", "plain", "onednn"),
    ),
    "joined groups": (
        ((16, 7, 6, 32), (3, 3, 8, 20), dict(groups=4)),
        whole("blocks") | parts("plain", "plain", "plain"),
        parts("plain", "plain", "onednn"),
    ),
    "small maps": (
        ((16, 2, 2, 20), (3, 3, 20, 17), dict()),
        whole("taps"),
        whole("taps"),
    ),
    "1×1": (
        ((16, 7, 6, 20), (1, 1, 20, 17), dict(strides=2)),
        whole("pointwise"),
        whole("seen pixels") | parts("plain", "plain", "onednn") - whole("by parts"),
    ),
    "3×3": (
        ((8, 9, 8, 256), (3, 3, 256, 257), dict(padding=((2, 0), (1, 3)))),
        parts("winograd", "winograd", "plain"),
        parts("plain", "winograd", "onednn"),
    ),
    "images": (
        ((16, 9, 8, 3), (5, 4, 3, 6), dict(padding="VALID")),
        parts("packed", "patches", "plain"),
        parts("plain", "plain", "onednn"),
    ),
    "few channels": (
        ((16, 9, 8, 3), (3, 3, 3, 20), dict(strides=2)),
        parts("plain", "patches", "plain"),
        parts("plain", "patches", "onednn"),
    ),
    "many channels": (
        ((64, 32, 32, 64), (2, 1, 64, 32), dict()),
        parts("plain", "plain", "patches"),
        parts("plain", "plain", "onednn"),
    ),
    "strides": (
        ((16, 9, 8, 20), (3, 3, 20, 17), dict(strides=(2, 3))),
        parts("plain", "patches", "patches"),
        parts("plain", "patches", "onednn"),
    ),
    "all others": (
        ((16, 9, 8, 20), (3, 3, 20, 17), dict(dilation=2)),
        parts("plain", "plain", "plain"),
        parts("plain", "plain", "onednn"),
    ),
}
TABLES = {"without oneDNN": 1, "oneDNN": 2}
every_form = pytest.mark.parametrize(
    ("table", "form"),
    [
        pytest.param(table, form, marks=() if often else pytest.mark.slow)
        for table, form in itertools.product(TABLES, FORMS)
        # What runs where oneDNN is not used takes the compiler longest.
        for often in [table == "oneDNN" or form in ("depthwise", "few channels")]
    ],
    indirect=["table"],
)
# Without those that only combine the functions of others.
COMBINED = {
    "without oneDNN": {
        "one channel a group",
        "one channel a group, large maps",
        "small groups",
        "large groups",
        "few channels",
        "many channels",
    },
    "oneDNN": {
        "depthwise",
        "one channel a group, large maps",
        "small groups",
        "large groups",
        "small maps",
        "3×3",
        "few channels",
        "many channels",
    },
}
every_kind = pytest.mark.parametrize(
    ("table", "form"),
    [
        pytest.param(table, form, marks=pytest.mark.slow if long else ())
        for table, form in itertools.product(TABLES, FORMS)
        if form not in COMBINED[table]
        for long in [(table, form) == ("without oneDNN", "3×3")]
    ],
    indirect=["table"],
)


@pytest.fixture
def table(request, monkeypatch):
    """Choose from this table of `cpu`, whatever this machine has."""
    monkeypatch.setattr(cpu, "is_chosen", lambda dtype: request.param == "oneDNN")
    if "eight_devices" not in request.node.name:
        monkeypatch.setattr(jax, "device_count", lambda: 1)
    return request.param


def example(form, dtype=jnp.float32):
    """Images, a kernel that keeps their variance, and options."""
    images, kernel, options = FORMS[form][0]
    draw = np.random.default_rng(0).standard_normal
    fan_in = np.prod(kernel[:3])
    return (
        jnp.asarray(draw(images), dtype),
        jnp.asarray(draw(kernel) / np.sqrt(fan_in), dtype),
        options,
    )


def lax_conv2d(images, kernel, *, strides=1, padding="SAME", dilation=1, groups=1):
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
    kernel = draw((*kernel, channels, out)) / np.sqrt(np.prod(kernel) * channels)
    return images, jnp.asarray(kernel, jnp.float32)


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


@every_form
def test_values_and_gradients_are_native_in_the_forms_of_the_table(
    table, form, monkeypatch
):
    images, kernel, options = example(form)
    taken = set()

    def spied(name, form):
        def function(*arguments):
            taken.add((name, form.name))
            return form.function(*arguments)

        return form._replace(function=function)

    for name in ("WHOLE", "OUTPUT", "INPUT_GRADIENT", "WEIGHT_GRADIENT"):
        forms = tuple(spied(name, form) for form in getattr(cpu, name))
        monkeypatch.setattr(cpu, name, forms)

    @partial(jax.jit, static_argnums=0)
    def differentiate(convolve, images, kernel):
        return (
            convolve(images, kernel, **options),
            *gradients(convolve, images, kernel, **options),
        )

    ours, wanted = (differentiate(f, images, kernel) for f in (conv2d, lax_conv2d))
    assert_close(ours, wanted)
    assert taken == FORMS[form][TABLES[table]]


def test_every_line_of_the_tables_has_an_example():
    lines = {
        (name, form.name)
        for name in ("WHOLE", "OUTPUT", "INPUT_GRADIENT", "WEIGHT_GRADIENT")
        for form in getattr(cpu, name)
    }
    assert (
        set.union(*(without | with_ for _, without, with_ in FORMS.values())) == lines
    )


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [(1, 1), (5, 4)], ids=str)
@pytest.mark.parametrize("strides", [1, (3, 2)], ids=str)
@pytest.mark.parametrize("channels", [3, 20])
def test_every_padding_is_native(kernel, strides, channels):
    """All paddings in one program: compiling is what takes the time."""
    images, kernel = operands(channels=channels, kernel=kernel)

    @partial(jax.jit, static_argnums=0)
    def sweep(convolve, images, kernel):
        options = [{"strides": strides, "padding": padding} for padding in PADDINGS]
        return [
            (convolve(images, kernel, **o), *gradients(convolve, images, kernel, **o))
            for o in options
        ]

    assert_close(sweep(conv2d, images, kernel), sweep(lax_conv2d, images, kernel))


def test_paddings_strides_and_dilations_are_native_in_groups():
    images, kernel = operands(4, 7, 6, channels=1, out=32)
    images = jnp.concatenate([images + c for c in range(16)], -1)

    @partial(jax.jit, static_argnums=0)
    def sweep(convolve, images, kernel):
        many = [{"padding": padding} for padding in PADDINGS[2:]]
        many += [{"strides": 2, "dilation": 2}, {"strides": (1, 3), "padding": 1}]
        return [
            (
                convolve(images, kernel, groups=16, **o),
                *gradients(convolve, images, kernel, groups=16, **o),
            )
            for o in many
        ]

    assert_close(sweep(conv2d, images, kernel), sweep(lax_conv2d, images, kernel))


@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 0), (0, 2))], ids=str)
def test_winograd_with_other_paddings_is_native(pads):
    """On maps that the tiles divide along one axis only, whatever the channels."""
    images, kernel = operands(2, 7, 6)
    geometry = Geometry(pads=pads)
    y, transpose = jax.vjp(partial(lax_conv2d, padding=pads), images, kernel)

    @jax.jit
    def ours(images, kernel):
        return (
            winograd.convolve(images, kernel, geometry),
            winograd.input_gradient(y, kernel, images.shape[1:3], geometry),
        )

    assert_close(ours(images, kernel), (y, transpose(y)[0]))


@pytest.mark.parametrize("strides", [1, 2])
def test_maps_smaller_than_the_kernel_are_native(strides):
    sizes = [(1, 1), (2, 3), (4, 2), (5, 5)]
    options = {"strides": strides, "padding": ((3, 2), (1, 4))}

    @partial(jax.jit, static_argnums=0)
    def sweep(convolve, each):
        return [
            (convolve(*both, **options), *gradients(convolve, *both, **options))
            for both in each
        ]

    each = [operands(3, *size, kernel=(5, 3)) for size in sizes]
    assert_close(sweep(conv2d, each), sweep(lax_conv2d, each))


@pytest.mark.parametrize("table", ["without oneDNN"], indirect=True)
def test_xla_never_sees_a_map_smaller_than_the_kernel_or_the_output(table, monkeypatch):
    """It has no fast kernel for either."""
    images, kernel = operands(16, 9, 4, channels=32, out=17, kernel=(1, 3))
    convolve, seen = native.convolve, []

    def spied(x, kernel, geometry):
        y = convolve(x, kernel, geometry)
        seen.append((x.shape[1:3], kernel.shape[:2], y.shape[1:3]))
        return y

    monkeypatch.setattr(native, "convolve", spied)
    cpu.plain.convolve(images[:, :, :2], kernel, Geometry(pads=((0, 0), (1, 1))))
    gradients(conv2d, images, kernel, padding="VALID")
    assert len(seen) == 4
    for maps in seen:
        assert all(n >= max(k, o) for n, k, o in zip(*maps, strict=True))


def test_a_kernel_that_sees_nothing_but_padding_makes_zeros():
    images, kernel = operands(2, 1, 1, kernel=(2, 2))
    options = {"strides": 3, "padding": ((3, 3), (0, 1))}
    np.testing.assert_array_equal(
        conv2d(images, kernel, **options), lax_conv2d(images, kernel, **options)
    )


def test_batches_are_cut_into_slices_that_every_device_holds(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert slices.number_of_slices(128, 7) == 8
    assert slices.number_of_slices(128, 100) == 16
    assert slices.number_of_slices(24, 2) == 3
    assert slices.number_of_slices(24, 0.1) == 1
    assert slices.number_of_slices(100, 7) == 10  # on one device: 8 do not divide it


@pytest.mark.slow
def test_slices_change_nothing(monkeypatch):
    """All forms that cut a batch, in as many slices as there are images."""

    examples = [example(form) for form in ("3×3", "strides")]

    def sweep(operands):
        return [
            (conv2d(*both, **options), *gradients(conv2d, *both, **options))
            for both, (*_, options) in zip(operands, examples, strict=True)
        ]

    both = [example[:2] for example in examples]
    whole = jax.jit(lambda operands: sweep(operands))(both)
    for module in (cpu.patches, cpu.winograd):
        monkeypatch.setattr(module, "number_of_slices", lambda batch, _: batch)
    assert_close(jax.jit(lambda operands: sweep(operands))(both), whole)


def test_short_rows_of_the_weight_gradient_are_halved():
    """Else oneDNN lets one of two cores compute two of its three rows."""

    def parts(channels, size):
        x, dy = (
            jax.ShapeDtypeStruct((32, 9, 8, n), jnp.float32) for n in (channels, 8)
        )
        geometry = Geometry(pads=((size // 2, size // 2),) * 2)
        traced = jax.make_jaxpr(
            lambda x, dy: cpu.onednn.weight_gradient(x, dy, (size, size), geometry)
        )(x, dy)
        (images,) = (
            equation.invars[0].aval.shape
            for equation in traced.eqns
            if equation.primitive is lax.conv_general_dilated_p
        )
        assert images[1:] == (2, 9, 8 * channels // images[0], 16)
        return images[0]

    assert [parts(channels, 3) for channels in (15, 16, 17, 30, 32)] == [1, 2, 1, 2, 1]
    assert parts(16, 5) == 1


@pytest.mark.slow
@every_kind
def test_second_derivatives_are_native(table, form):
    images, kernel, options = example(form)

    @partial(jax.jit, static_argnums=0)
    @partial(jax.grad, argnums=(1, 2))
    def penalty(convolve, images, kernel):
        """A gradient penalty: its gradient needs every second derivative."""
        by_images, by_kernel = gradients(convolve, images, kernel, **options)
        return jnp.square(by_images).sum() + jnp.square(by_kernel).sum()

    assert_close(
        penalty(conv2d, images, kernel), penalty(lax_conv2d, images, kernel), 1e-4
    )


@pytest.mark.slow
@every_kind
def test_vmap(table, form):
    """Over images and kernels; over one of them, `test_gradients_per_example`."""
    images, kernel, options = example(form)
    pairs = [(images, kernel), (2 * images, 0.5 * kernel)]

    @jax.jit
    def ours(pairs):
        stacked = jax.tree.map(lambda *each: jnp.stack(each), *pairs)
        return jax.vmap(partial(gradients, conv2d, **options))(*stacked)

    @jax.jit
    def wanted(pairs):
        each = [gradients(lax_conv2d, *pair, **options) for pair in pairs]
        return jax.tree.map(lambda *each: jnp.stack(each), *each)

    assert_close(ours(pairs), wanted(pairs))


def test_gradients_per_example():
    images, kernel = operands(3, 15, 16)
    each = jax.vmap(lambda x: gradients(conv2d, x[None], kernel)[1])(images)
    assert_close(each.sum(0), gradients(lax_conv2d, images, kernel)[1])


@pytest.mark.slow
@every_kind
def test_checkpoint_and_scan(table, form):
    """Gradients through a checkpointed layer, taken inside a scanned training loop."""
    images, kernel, options = example(form)

    @partial(jax.jit, static_argnums=0)
    def descend(convolve, images, kernel):
        @jax.checkpoint
        def layer(images, kernel):
            return jnp.tanh(convolve(images, kernel, **options))

        def loss(variables):
            return jnp.square(layer(*variables)).mean()

        def step(variables, _):
            value, slopes = jax.value_and_grad(loss)(variables)
            return jax.tree.map(lambda v, s: v - 0.1 * s, variables, slopes), value

        return lax.scan(step, (images, kernel), length=3)

    ours, wanted = (descend(f, images, kernel) for f in (conv2d, lax_conv2d))
    assert_close(ours, wanted)


@pytest.mark.slow
@every_kind
def test_bfloat16(table, form):
    images, kernel, options = example(form)
    exact = gradients(lax_conv2d, images, kernel, **options)
    images, kernel, options = example(form, jnp.bfloat16)
    half = jax.jit(partial(gradients, conv2d, **options))(images, kernel)
    for h, e in zip(half, exact, strict=True):
        assert h.dtype == jnp.bfloat16
        assert jnp.abs(h.astype(jnp.float32) - e).max() < 0.03 * jnp.abs(e).max()


@pytest.mark.parametrize(
    ("shape", "groups"), [((32, 15, 19, 16), 1), ((16384, 3, 3, 8), 8)], ids=str
)
def test_bfloat16_adds_its_slices_in_float32(shape, groups, monkeypatch):
    """As many slices as images, of ones: a running sum in bfloat16 would get stuck."""
    monkeypatch.setattr(cpu.patches, "number_of_slices", lambda batch, _: batch)
    batch, height, width, channels = shape
    images = jnp.ones(shape, jnp.bfloat16)
    kernel = jnp.ones((3, 3, channels // groups, 16), jnp.bfloat16)

    def total(kernel):
        return conv2d(images, kernel, padding="VALID", groups=groups).sum()

    wanted = batch * (height - 2) * (width - 2)
    got = jax.grad(total)(kernel).astype(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=2**-8)


@every_kind
def test_a_batch_on_eight_devices_stays_where_it_is(table, form):
    if jax.device_count() < 8:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=8")
    images, kernel, options = example(form)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(images, NamedSharding(mesh, PartitionSpec("data")))
    everywhere = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))

    differentiate = jax.jit(partial(gradients, conv2d, **options))
    compiled = differentiate.lower(sharded, everywhere).compile()
    by_images, by_kernel = compiled(sharded, everywhere)
    wanted = gradients(lax_conv2d, images, kernel, **options)
    assert_close((by_images, by_kernel), wanted)
    assert by_images.sharding.is_equivalent_to(sharded.sharding, 4)

    text = compiled.as_text()
    assert "all-reduce" in text
    for motion in ("all-gather", "all-to-all", "collective-permute"):
        assert motion not in text


@pytest.mark.slow
@pytest.mark.parametrize("form", ["depthwise", "small maps", "3×3", "strides"])
def test_shard_map(form):
    if jax.device_count() < 8:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=8")
    images, kernel, options = example(form)
    images = jnp.tile(images, (4, 1, 1, 1))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data")

    def on_each_device(images, kernel):
        def convolve(images, kernel):
            kernel = lax.pcast(kernel, "data", to="varying")
            return conv2d(images, kernel, **options)

        return gradients(convolve, images, kernel)

    got = jax.jit(
        jax.shard_map(
            on_each_device,
            mesh=mesh,
            in_specs=(spec, PartitionSpec()),
            out_specs=(spec, PartitionSpec()),
        )
    )(images, kernel)
    assert_close(got, gradients(lax_conv2d, images, kernel, **options))


@every_form
def test_gradients_are_canonical_convolutions(table, form):
    """Any other order of axes is hundreds of times slower inside `lax.scan`.

    But oneDNN takes the kernel in any.
    """
    images, kernel, options = example(form)
    differentiate = partial(gradients, conv2d, **options)
    jaxpr = str(jax.make_jaxpr(differentiate)(images, kernel))
    orders = re.findall(r"lhs_spec=(.*), rhs_spec=(.*), out_spec=([^)]*\))", jaxpr)
    depth = "(0, 4, 1, 2, 3)"
    assert set(orders) <= {
        ("(0, 3, 1, 2)", "(3, 2, 0, 1)", "(0, 3, 1, 2)"),
        (depth, "(4, 3, 0, 1, 2)", depth),
        (depth, "(4, 0, 1, 2, 3)" if table == "oneDNN" else None, depth),
    }
    if table == "without oneDNN":
        assert set(re.findall("feature_group_count=(.*)", jaxpr)) <= {"1"}
    # Neither of these does XLA hand to oneDNN, or to its own fast kernels.
    assert not re.findall(r"lhs_dilation=\([^)]*[2-9]", jaxpr)
    assert not re.findall(r"padding=\([^=]*-\d", jaxpr)


@pytest.mark.parametrize("groups", [1, 3])
def test_accelerators_get_the_plain_operation(groups, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    images, kernel = operands(out=6)
    convolve = partial(conv2d, groups=groups)
    jaxpr = str(jax.make_jaxpr(convolve)(images, kernel[:, :, : 3 // groups]))
    assert re.findall(r"= (\w+)\[", jaxpr) == ["conv_general_dilated"]


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_gradient_nobody_reads_is_not_computed(wanted):
    """The images of the first layer are data: their gradient is dead code."""
    images, kernel = operands(8, 16, 16, channels=20, out=17)

    def convolutions(differentiate):
        text = jax.jit(differentiate).lower(images, kernel).compile().as_text()
        return len(re.findall(r"convolution\(|__onednn.convolution", text))

    both = convolutions(partial(gradients, conv2d))
    one = convolutions(lambda x, w: gradients(conv2d, x, w)[wanted])
    assert one == both - 1


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
