"""Networks as programs: the same numbers for any batch, and clear refusals."""

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.models import stablehlo
from tests import predictors, tiny

IMAGES = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("network", tiny.MODELS)
def test_a_program_is_the_network_for_any_number_of_images(network):
    made = predictors.make(network)
    program = stablehlo.to_stablehlo(made.model, made.variables, IMAGES)
    same = stablehlo.from_stablehlo(program)
    for count in (1, 5):
        images = np.random.default_rng(count).normal(size=(count, 8, 8, 3))
        images = images.astype(np.float32)
        expected, _ = jax.jit(made.model.apply)(made.variables, images)
        found, state = jax.jit(same.apply)(made.variables, images)
        assert found.keys() == expected.keys() and "logits" in found
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], 1e-4, 1e-5)
        assert state.keys() == made.variables.keys() - {"params"}


def test_a_program_runs_anywhere_and_holds_neither_weights_nor_our_forms():
    model = models.create("resnet18", num_classes=4)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    program = stablehlo.to_stablehlo(model, variables, images, names=["logits"])
    exported = jax.export.deserialize(bytearray(program))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [str(aval.shape[0]) for aval in exported.out_avals] == ["b"]
    text = exported.mlir_module()
    # Of 20 layers, each a convolution of XLA, which JAX lowers for each platform by
    # itself; ours would be products and slices.
    assert text.count("stablehlo.convolution") == 20 * len(stablehlo.PLATFORMS)
    assert len(program) < 200_000
    assert b".py" not in program  # nor the paths of this machine
    taken = stablehlo.arguments(program)
    assert jax.tree.structure(taken[0]) == jax.tree.structure(variables)
    assert taken[1].shape[1:] == (64, 64, 3)


def test_tracing_for_elsewhere_leaves_no_trace():
    made = predictors.make()
    images = jnp.ones((1, 8, 8, 3))
    before = str(jax.make_jaxpr(lambda x: made.model.apply(made.variables, x))(images))
    stablehlo.to_stablehlo(made.model, made.variables, IMAGES)
    after = str(jax.make_jaxpr(lambda x: made.model.apply(made.variables, x))(images))
    assert before == after


def test_a_program_predicts_only():
    made = predictors.make("mlp")
    program = stablehlo.to_stablehlo(made.model, made.variables, IMAGES)
    same = stablehlo.from_stablehlo(program)
    images = jnp.ones((2, 8, 8, 3))
    with pytest.raises(UsageError, match="cannot be trained"):
        same.apply(made.variables, images, train=True)
    with pytest.raises(UsageError, match="no 'head'"):
        same.apply(made.variables, images, entry="head")
    with pytest.raises(UsageError, match="cannot draw weights"):
        same.init(jax.random.key(0), images)
    with pytest.raises(UsageError, match=r"expected \(b, 8, 8, 3\).*\(2, 9, 8, 3\)"):
        same.apply(made.variables, jnp.ones((2, 9, 8, 3)))


class CountsImages(nn.Module):
    @nn.compact
    def __call__(self, images):
        if images.shape[0] > 3:
            images = images * 2
        return nn.Dense(4)(images.mean((1, 2)))


class AsksPython(nn.Module):
    @nn.compact
    def __call__(self, images):
        like = jax.ShapeDtypeStruct((), jnp.float32)
        factor = jax.pure_callback(lambda: np.float32(2), like)
        return nn.Dense(4)(images.mean((1, 2)) * factor)


@pytest.mark.parametrize(
    "module, message",
    [
        (CountsImages(), "depends on the number of images"),
        (AsksPython(), "a StableHLO program cannot express.*callback"),
    ],
)
def test_what_a_program_cannot_express_is_named(module, message):
    made = predictors.make(model=models.from_linen(module))
    with pytest.raises(UsageError, match=message):
        stablehlo.to_stablehlo(made.model, made.variables, IMAGES)


def test_an_unknown_activation_is_refused():
    made = predictors.make("mlp")
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        stablehlo.to_stablehlo(made.model, made.variables, IMAGES, names=["logit"])


@pytest.mark.parametrize("program", [b"", b"nonsense", b"\0" * 4096])
def test_bytes_that_are_no_program_are_refused(program):
    with pytest.raises(UsageError, match="are no program"):
        stablehlo.from_stablehlo(program)


def test_a_missing_package_is_named(monkeypatch):
    def fail(program):
        raise ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers")

    monkeypatch.setattr(jax.export, "deserialize", fail)
    with pytest.raises(UsageError, match="pip install flatbuffers"):
        stablehlo.from_stablehlo(b"")
