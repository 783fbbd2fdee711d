"""The contract of a model: several inputs, entries, errors in the user's terms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.layers.conv import Conv
from jaxvision.models.linen import from_linen


class Denoiser(nn.Module):
    """Images and a time step to noise, with an encoder and a head of its own."""

    features: int = 4

    def setup(self):
        self.conv = Conv(self.features, 5, padding="VALID")
        self.time = nn.Dense(self.features)
        self.norm = nn.BatchNorm()
        self.score = nn.Dense(1)
        self.drop = nn.Dropout(0.5)

    def __call__(self, images, times, *, train):
        codes = self.encode(images, train=train) + self.time(times[:, None])[:, None]
        codes = self.norm(codes, use_running_average=not train)
        if self.is_initializing():
            self.judge(codes, train=train)
        return {"noise": codes}

    def encode(self, images, *, train):
        return self.conv(images).mean(1)

    def judge(self, codes, *, train):
        return {"score": self.score(self.drop(codes, deterministic=not train))}

    def halves(self):
        return self.features // 2


@pytest.fixture(scope="module")
def made():
    model = from_linen(Denoiser())
    images, times = jnp.ones((2, 8, 8, 3)), jnp.array([0.1, 0.9])
    return model, model.init(jax.random.key(0), images, times), images, times


def test_further_inputs_are_passed_on(made):
    model, variables, images, times = made
    outputs, state = model.apply(variables, images, times)
    assert outputs["noise"].shape == (2, 4, 4)
    assert not np.allclose(outputs["noise"][0], outputs["noise"][1])
    assert state == {"batch_stats": variables["batch_stats"]}
    _, trained = model.apply(variables, images, times, train=True)
    before = variables["batch_stats"]["norm"]["mean"]
    assert not np.allclose(trained["batch_stats"]["norm"]["mean"], before)


def test_an_entry_is_another_function_of_the_same_variables(made):
    model, variables, images, _ = made
    codes, state = model.apply(variables, images, entry="encode")
    params = variables["params"]
    expected = Conv(4, 5, padding="VALID").apply({"params": params["conv"]}, images)
    np.testing.assert_allclose(codes, expected.mean(1), rtol=1e-6)
    assert state == {"batch_stats": variables["batch_stats"]}

    outputs, _ = model.apply(variables, codes, entry="judge")
    dense = params["score"]
    np.testing.assert_allclose(
        outputs["score"],
        np.asarray(codes @ dense["kernel"]) + np.asarray(dense["bias"]),
        rtol=1e-5,
    )
    one, two = (
        model.apply(
            variables, codes, entry="judge", train=True, key=jax.random.key(seed)
        )[0]["score"]
        for seed in (1, 2)
    )
    assert not np.allclose(one, two)
    key = jax.random.key(0)
    _, state = model.apply(variables, codes, entry="judge", train=True, key=key)
    assert jax.tree.all(
        jax.tree.map(jnp.array_equal, state["batch_stats"], variables["batch_stats"])
    )


@pytest.mark.parametrize(
    "entry, message",
    [
        ("encoder", "unknown entry of Denoiser 'encoder': did you mean 'encode'"),
        ("halves", "choose from: encode, judge"),
        ("setup", "choose from: encode, judge"),
    ],
)
def test_an_unknown_entry_names_the_nearest(made, entry, message):
    model, variables, images, _ = made
    with pytest.raises(UsageError, match=message):
        model.apply(variables, images, entry=entry)


def test_images_that_are_too_small_are_explained_whatever_follows_them(made):
    model, variables, _, times = made
    small = jnp.ones((2, 4, 8, 3))
    with pytest.raises(UsageError, match=r"images of 4×8×3 .* takes 5×5 and more"):
        model.init(jax.random.key(0), small, times)
    with pytest.raises(UsageError, match="takes 5×5 and more"):
        model.apply(variables, small, entry="encode")


def test_inputs_that_variables_were_not_made_for_are_refused(made):
    model, variables, images, times = made
    with pytest.raises(UsageError, match="Denoiser with images of 8×8×1"):
        model.apply(variables, images[..., :1], times)
    with pytest.raises(UsageError, match="Denoiser with inputs of 4×3"):
        model.apply(variables, jnp.ones((2, 4, 3)), entry="judge")


def test_rebuilding_keeps_the_variables():
    model = models.create("lenet5")
    images = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    low = model.rebuild(dtype=jnp.bfloat16)
    assert variables == jax.eval_shape(low.init, jax.random.key(0), images)
    outputs, _ = jax.eval_shape(low.apply, variables, images)
    assert outputs["pre_logits"].dtype == jnp.bfloat16
    with pytest.raises(UsageError, match="did you mean 'dtype'"):
        model.rebuild(dtyp=jnp.bfloat16)


class Plain(nn.Module):
    """As it stands in a tutorial: returns an array and knows no mode."""

    conv: nn.Module

    @nn.compact
    def __call__(self, images):
        return nn.Dense(3)(nn.relu(self.conv(images)).mean((1, 2)))


class ModeAsKeyword(nn.Module):
    conv: nn.Module

    @nn.compact
    def __call__(self, images, deterministic=True):
        features = nn.Dropout(0.5, deterministic=deterministic)(self.conv(images))
        return nn.Dense(3)(features.mean((1, 2)))


class ModeAsField(nn.Module):
    conv: nn.Module
    training: bool = False

    @nn.compact
    def __call__(self, images):
        features = self.conv(images)
        if self.training:
            noise = jax.random.normal(self.make_rng("noise"), features.shape)
            features = features + noise
        return nn.Dense(3)(features.mean((1, 2)))


@pytest.mark.parametrize("make", [Plain, ModeAsKeyword, ModeAsField])
def test_modules_of_others_are_wrapped_and_convolve_as_ours(make):
    conv = nn.Conv(4, (3, 3), strides=2)
    model = from_linen(make(conv))
    images = jax.random.normal(jax.random.key(0), (2, 9, 9, 3))
    variables = model.init(jax.random.key(0), images)
    outputs, state = model.apply(variables, images)
    assert state == {} and outputs["logits"].shape == (2, 3)
    wanted = make(conv).apply(variables, images)
    np.testing.assert_allclose(outputs["logits"], wanted, rtol=1e-4, atol=1e-6)
    assert "custom_vjp" in str(jax.make_jaxpr(model.apply)(variables, images))
    assert conv.conv_general_dilated is None

    one, two = (
        model.apply(variables, images, train=True, key=jax.random.key(seed))[0]
        for seed in (1, 2)
    )
    random = make is not Plain
    assert np.array_equal(one["logits"], outputs["logits"]) != random
    assert np.array_equal(one["logits"], two["logits"]) != random


@pytest.mark.parametrize(
    "module, inputs, message",
    [
        (nn.Sequential([lambda x: (x, x)]), 1, "Sequential returns a tuple: return a"),
        (Denoiser(), 1, r"Denoiser\(images, times, \*, train\) .* 1 inputs .*times"),
        (Plain(nn.Dense(1)), 2, r"Plain\(images\) .* 2 inputs .* let Task\.inputs"),
        (Plain, 1, r"such as Net\(num_classes=10\), got <class .*Plain"),
        (object(), 1, "an NNX module is for from_nnx"),
    ],
)
def test_what_a_module_lacks_is_said_in_one_line(module, inputs, message):
    with pytest.raises(UsageError, match=message):
        images = [jnp.ones((1, 8, 8, 3))] * inputs
        model = from_linen(module)
        model.apply(model.init(jax.random.key(0), *images), *images)
