"""Recurrent cells, radial bases, coders and a memory, against their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.models import neural_turing
from jaxvision.models.adversaries import Adversaries
from jaxvision.models.autoencoder import (
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
)
from jaxvision.models.radial_basis import RadialBasis
from jaxvision.models.recurrent import Recurrent

IMAGES = jax.random.uniform(jax.random.key(0), (2, 5, 4, 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def affine(params, x):
    bias = params.get("bias", 0)
    return x @ np.asarray(params["kernel"]) + np.asarray(bias)


def rnn(p, state, x):
    h = np.tanh(affine(p["i"], x) + affine(p["h"], state["h"]))
    return {"h": h}


def lstm(p, state, x):
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000."""
    gates = {g: affine(p[f"i{g}"], x) + affine(p[f"h{g}"], state["h"]) for g in "ifgo"}
    keep = sigmoid(gates["f"]) * state["c"]
    cell = keep + sigmoid(gates["i"]) * np.tanh(gates["g"])
    return {"c": cell, "h": sigmoid(gates["o"]) * np.tanh(cell)}


def gru(p, state, x):
    """Cho et al. 2014, with the reset gate behind the matrix, as in cuDNN."""
    r, z = (
        sigmoid(affine(p[f"i{g}"], x) + affine(p[f"h{g}"], state["h"])) for g in "rz"
    )
    new = np.tanh(affine(p["in"], x) + r * affine(p["hn"], state["h"]))
    return {"h": (1 - z) * new + z * state["h"]}


@pytest.mark.parametrize("cell", [rnn, lstm, gru])
def test_a_recurrent_network_follows_its_equations(cell):
    model = models.from_linen(Recurrent(cell.__name__, width=3, num_classes=2))
    variables = jax.jit(model.init)(jax.random.key(1), IMAGES)
    # Biases are zeros at first, and would hide in the equations.
    params = jax.tree.map(lambda x: x + 0.1, variables["params"])
    outputs, _ = jax.jit(model.apply)({"params": params}, IMAGES)
    state = {"h": np.zeros((2, 3)), "c": np.zeros((2, 3))}
    states = []
    for row in range(5):
        state |= cell(params["cell"], state, np.asarray(IMAGES[:, row, :, 0]))
        states.append(state["h"])
    np.testing.assert_allclose(outputs["states"], np.stack(states, 1), atol=1e-6)
    last = affine(params["read_out"], states[-1])
    np.testing.assert_allclose(outputs["logits"], last, atol=1e-6)
    np.testing.assert_array_equal(outputs["logits"], outputs["logits_by_row"][:, -1])


def test_an_unknown_cell_is_refused():
    with pytest.raises(UsageError, match="unknown recurrent cell 'lsmt'"):
        models.from_linen(Recurrent("lsmt")).init(jax.random.key(0), IMAGES)


def test_radial_bases_are_gaussians_of_distances():
    model = models.from_linen(RadialBasis(4, 3, width=0.3))
    variables = model.init(jax.random.key(1), IMAGES)
    outputs, _ = model.apply(variables, IMAGES)
    flat = np.asarray(IMAGES).reshape(2, 1, -1)
    squares = np.square(flat - np.asarray(variables["params"]["centres"])[None])
    expected = np.exp(-squares.mean(-1) / (2 * 0.3**2))
    np.testing.assert_allclose(outputs["activations"], expected, rtol=1e-5)


def test_coders_go_to_a_code_and_back():
    images = jnp.zeros((2, 16, 12, 1))
    dense = Autoencoder(DenseEncoder((7,)), DenseDecoder((16, 12, 1), (7,)), code=3)
    conv = Autoencoder(
        ConvEncoder((2, 3)), ConvDecoder((16, 12, 1), (3, 2)), code=3, variational=True
    )
    for module, names in ((dense, ["code"]), (conv, ["code", "log_variance"])):
        model = models.from_linen(module)

        def shapes(images, model=model):
            variables = model.init(jax.random.key(0), images)
            whole, _ = model.apply(variables, images)
            code, _ = model.apply(variables, images, entry="encode")
            back, _ = model.apply(variables, code["code"], entry="decode")
            return whole, code, back

        whole, code, back = jax.eval_shape(shapes, images)
        assert [*code] == names and [*whole] == [*names, "logits"]
        assert whole["logits"].shape == back["logits"].shape == images.shape
        assert whole["code"].shape == (2, 3)


def test_sides_that_cannot_be_doubled_to_are_refused():
    model = models.from_linen(ConvDecoder((18, 16, 1)))
    with pytest.raises(UsageError, match="18×16 must be multiples of 4"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 3)))


def test_adversaries_make_and_judge():
    module = Adversaries(DenseDecoder((5, 4, 1), (6,)), DenseEncoder((6,)), latent=2)
    model = models.from_linen(module)

    @jax.jit
    def both(images):
        variables = model.init(jax.random.key(0), images)
        latent = 9 * jnp.ones((3, 2))
        made, _ = model.apply(variables, latent, entry="generate")
        return made["image"], model.apply(variables, images)[0]["logits"]

    made, verdict = both(IMAGES)
    assert made.shape == (3, 5, 4, 1) and verdict.shape == (2,)
    assert ((made > 0) & (made < 1)).all()


@pytest.fixture(scope="module")
def head():
    numbers = 3 * jax.random.normal(jax.random.key(0), (4, 5 + 6))
    return neural_turing.attention(numbers, 5)


def test_attention_adds_up_to_one(head):
    memory = jax.random.normal(jax.random.key(1), (4, 7, 5))
    before = jax.nn.softmax(jax.random.normal(jax.random.key(2), (4, 7)))
    found = neural_turing.address(head, memory, before)
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(head.shift.sum(1), 1, rtol=1e-5)


def test_attention_is_by_content_or_moves_on(head):
    memory = jnp.eye(5)[None].repeat(4, 0)
    before = jnp.eye(5)[:4]
    ones = jnp.ones(4)
    stay = jnp.array([[0.0, 1, 0]]).repeat(4, 0)
    by_content = neural_turing.Attention(jnp.eye(5)[1:], 50 * ones, ones, stay, ones)
    found = neural_turing.address(by_content, memory, before)
    np.testing.assert_allclose(found, np.eye(5)[1:], atol=1e-4)
    step = jnp.array([[0.0, 0, 1]]).repeat(4, 0)
    onwards = neural_turing.Attention(head.key, ones, 0 * ones, step, ones)
    found = neural_turing.address(onwards, memory, before)
    np.testing.assert_allclose(found, np.eye(5)[1:], atol=1e-4)


def test_a_turing_machine_reads_and_writes_everywhere_with_shares():
    model = models.from_linen(neural_turing.NeuralTuring(2, slots=4, size=3, hidden=5))
    seen = jax.random.normal(jax.random.key(0), (2, 6, 3))
    said = jax.jit(lambda x: model.apply(model.init(jax.random.key(1), x), x)[0])
    outputs = said(seen)
    assert outputs["logits"].shape == (2, 6, 2)
    for name in ("reading", "writing"):
        np.testing.assert_allclose(outputs[name].sum(-1), 1, rtol=1e-5)
