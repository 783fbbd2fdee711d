"""Programs that may call oneDNN: faster, and never with other values."""

import platform
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import onednn
from jaxvision.ops.convolution import conv2d


@pytest.fixture(autouse=True)
def unrefused(monkeypatch):
    """The other tests refuse oneDNN in `XLA_FLAGS`."""
    monkeypatch.setenv("XLA_FLAGS", "")
    onednn.works.cache_clear()
    yield
    onednn.works.cache_clear()


@pytest.fixture
def works():
    if not onednn.works():
        pytest.skip("XLA has no oneDNN here")


ACTIVATIONS = {
    "silu": nn.silu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "exact gelu": lambda x: nn.gelu(x, approximate=False),
    "sigmoid": nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "hard swish": nn.hard_swish,
    "x / (1 + exp(-x))": lambda x: x * (1 / (1 + jnp.exp(-x))),
}


def calls_onednn(text):
    return "__onednn$" in text


def operands():
    draw = np.random.default_rng(0).standard_normal
    return (
        jnp.asarray(draw((8, 6, 6, 128)), jnp.float32),
        jnp.asarray(draw((3, 3, 128, 128)) / 34, jnp.float32),
        jnp.asarray(draw(128), jnp.float32),
    )


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64")
    or jax.__version_info__[:2] != (0, 12),
    reason="what XLA's wheels hold was looked at for Linux on x86, jax 0.12",
)
def test_it_works_where_it_did():
    """Lost with a new version?  Then `make bench` shows by how much."""
    assert onednn.works()


def test_options_that_xla_does_not_know_are_not_given(monkeypatch):
    monkeypatch.setattr(onednn, "OPTIONS", {"xla_cpu_of_another_version": True})
    assert not onednn.works()
    x, kernel, _ = operands()
    np.testing.assert_allclose(
        onednn.jit(conv2d)(x, kernel), conv2d(x, kernel), atol=1e-4
    )


def test_the_user_can_refuse_it(monkeypatch):
    flag = "--xla_cpu_experimental_onednn_custom_call=false"
    monkeypatch.setenv("XLA_FLAGS", f"--xla_other=1 {flag}")
    assert not onednn.works()


@pytest.mark.usefixtures("works")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_follows_a_product_reads_the_product(name):
    """XLA joins activations to it; here others want it as well, as gradients do."""
    activation = ACTIVATIONS[name]

    def everything(x, kernel, bias):
        @jax.value_and_grad
        def convolution(x):
            before = conv2d(x, kernel) + bias[None, None, None, :]
            return (activation(before) * x + jnp.sin(before)).sum()

        @jax.value_and_grad
        def product(matrix):
            before = matrix @ kernel.reshape(-1, 128).T
            return (activation(before) * matrix[:, :1] + jnp.sin(before)).sum()

        alone = activation(conv2d(x, kernel))
        beside = conv2d(x, kernel[:1, :1])
        matrix = x.reshape(-1, 128)
        return convolution(x), product(matrix), alone, beside, activation(beside)

    got = onednn.jit(everything)(*operands())
    wanted = jax.jit(everything)(*operands())

    def compare(g, w):
        np.testing.assert_allclose(g, w, rtol=0, atol=1e-5 * np.abs(w).max())

    jax.tree.map(compare, got, wanted)


@pytest.mark.usefixtures("works")
def test_a_program_that_xla_gets_wrong_is_compiled_without():
    x, kernel, _ = operands()

    def loss(activation):
        program = onednn.jit(
            jax.grad(lambda x, kernel: (activation(conv2d(x, kernel)) * x).sum())
        )
        assert calls_onednn(program.lower(x, kernel).compile().as_text())
        program(x, kernel)
        return program.lower(x, kernel).compile().as_text()

    assert not calls_onednn(loss(nn.silu))
    assert calls_onednn(loss(nn.relu))


@pytest.mark.usefixtures("works")
def test_other_shapes_are_looked_at_again():
    """A product of this kind is handed to oneDNN only when it is large enough."""

    def gate(x, w):
        before = x @ w
        return nn.gelu(before), before

    program = onednn.jit(gate)
    for size in (8, 512):
        x = jnp.asarray(np.random.default_rng(0).standard_normal((size, size)))
        np.testing.assert_allclose(program(x, x / size), gate(x, x / size), atol=1e-5)


@pytest.mark.usefixtures("works")
def test_programs_of_others_are_left_alone():
    x, kernel, _ = operands()
    text = jax.jit(conv2d).lower(x, kernel).compile().as_text()
    assert not calls_onednn(text)


@pytest.mark.usefixtures("works")
def test_inside_another_program_it_is_that_program():
    x, kernel, _ = operands()
    inner = onednn.jit(conv2d)
    got = jax.vmap(inner, in_axes=(0, None))(x[:, None], kernel)
    np.testing.assert_allclose(got[:, 0], conv2d(x, kernel), atol=1e-4)


@pytest.mark.usefixtures("works")
def test_a_program_is_compiled_once():
    x, kernel, _ = operands()
    program = onednn.jit(lambda x, kernel: nn.relu(conv2d(x, kernel)))
    clock = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: clock.append(event)
    )
    program(x, kernel)
    program(2 * x, kernel)
    compiled = [event for event in clock if event.endswith("backend_compile_duration")]
    assert len(compiled) - 1 == 1  # and 2 * x


@pytest.mark.usefixtures("works")
def test_it_computes_every_convolution_of_a_training_loop():
    """XLA's own would take a hundred times as long there."""
    draw = np.random.default_rng(0).standard_normal
    images = jnp.asarray(draw((32, 16, 16, 16)), jnp.float32)
    shapes = {"whole": (3, 3, 16, 24), "strided": (3, 3, 24, 32), "one": (3, 3, 1, 32)}
    kernels = {
        name: jnp.asarray(draw(shape), jnp.float32) / 12
        for name, shape in shapes.items()
    }

    def loss(kernels, images):
        y = nn.relu(conv2d(images, kernels["whole"]))
        y = nn.relu(conv2d(y, kernels["strided"], strides=2))
        return conv2d(y, kernels["one"], groups=32).var()

    def train(kernels, images):
        def step(kernels, _):
            slopes = jax.grad(loss)(kernels, images)
            return jax.tree.map(lambda k, s: k - 0.1 * s, kernels, slopes), None

        return jax.lax.scan(step, kernels, length=2)[0]

    program = onednn.jit(train)
    text = program.lower(kernels, images).compile().as_text()
    assert " convolution(" not in text and calls_onednn(text)
    got, wanted = program(kernels, images), jax.jit(train)(kernels, images)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), got, wanted)
