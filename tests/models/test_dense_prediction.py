"""Networks that give every pixel a score: sizes, and what classifiers leave to them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models, pretrained
from jaxvision.errors import UsageError
from jaxvision.layers.up_conv import ConvTranspose, bilinear
from jaxvision.ops import convolution
from jaxvision.pretrained import keys

NARROW = {
    "fcn8s": dict(features=(2,) * 5, hidden=4),
    "fcn16s": dict(features=(2,) * 5, hidden=4, padding="maps"),
    "fcn32s_alexnet": dict(features=(2,) * 5, hidden=4),
    "segnet": dict(features=(2,) * 5),
    "segnet_basic": dict(width=4),
    "unet_ronneberger": dict(width=2, padding="mirror"),
    "segformer_b0": dict(decoder=8, encoder_options={"remat": True}),
}


@pytest.fixture
def convolution_as_on_accelerators(monkeypatch):
    """The forms for CPU have tests of their own, and take the compiler far longer."""
    monkeypatch.setattr(convolution.cpu, "convolve", convolution.native.convolve)


def traced(name, shape, **options):
    """The outputs of a training pass, and the model state, as shapes."""
    model = models.create(name, **options)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs, state = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, key=jax.random.key(1)),
        variables,
        images,
    )
    return variables, outputs, state


def random(shapes):
    """Weights of these shapes with which signals neither vanish nor grow."""
    draw = np.random.default_rng(0).standard_normal

    def weight(leaf):
        return draw(leaf.shape, np.float32) * math.sqrt(2 * leaf.shape[-1] / leaf.size)

    return jax.tree.map(weight, shapes)


def run(model, variables, images):
    return jax.jit(lambda v, x: model.apply(v, x)[0])(variables, images)


@pytest.mark.slow
@pytest.mark.parametrize("name", NARROW)
def test_images_of_any_size_get_a_score_for_every_pixel(name):
    options = NARROW[name] | dict(num_classes=7, dtype=jnp.bfloat16)
    variables, outputs, state = traced(name, (2, 37, 61, 3), **options)
    assert outputs["logits"].shape == (2, 37, 61, 7)
    assert outputs["logits"].dtype == jnp.float32
    inner = outputs.keys() - {"scores", "logits"}
    assert {str(outputs[key].dtype) for key in inner} == {"bfloat16"}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {"float32"}
    kept = {key: value for key, value in variables.items() if key != "params"}
    assert jax.tree.structure(state) == jax.tree.structure(kept)


def test_sizes_that_do_not_fit_name_those_that_do():
    with pytest.raises(UsageError, match=r"sides are 188, 204, 220 and so on, got 190"):
        traced("unet_ronneberger", (1, 190, 204, 1))
    _, outputs, _ = traced("unet_ronneberger", (1, 188, 204, 1), width=2)
    assert outputs["logits"].shape == (1, 4, 20, 2)
    with pytest.raises(UsageError, match="takes 29×29 and more"):
        traced("mit_b0", (1, 28, 40, 3), depths=(1, 1, 1, 1))
    for name in ("fcn8s", "unet_small"):
        with pytest.raises(UsageError, match="unknown padding of"):
            traced(name, (1, 64, 64, 3), padding="zeros")


def test_the_unet_of_the_paper_has_the_sizes_of_its_figure():
    _, outputs, _ = traced("unet_ronneberger", (1, 572, 572, 1))
    assert {name: value.shape[1:] for name, value in outputs.items()} == {
        "down1": (568, 568, 64),
        "down2": (280, 280, 128),
        "down3": (136, 136, 256),
        "down4": (64, 64, 512),
        "down5": (28, 28, 1024),
        "up4": (52, 52, 512),
        "up3": (100, 100, 256),
        "up2": (196, 196, 128),
        "up1": (388, 388, 64),
        "logits": (388, 388, 2),
    }


@pytest.mark.usefixtures("convolution_as_on_accelerators")
@pytest.mark.parametrize(
    "classifier, name",
    [
        ("alexnet", "fcn32s_alexnet"),
        pytest.param("vgg16", "fcn32s", marks=pytest.mark.slow),
    ],
)
def test_one_position_of_the_convolutional_form_is_the_classifier(classifier, name):
    """That at which the window is the whole last map of the classifier's image."""
    options = dict(features=(4,) * 5, hidden=8, num_classes=5)
    dense = models.create(classifier, **options)
    dense_as_maps = models.create(name, padding="maps", **options)
    images = np.random.default_rng(0).standard_normal((2, 224, 224, 3), np.float32)
    variables = random(jax.eval_shape(dense.init, jax.random.key(0), images))
    shapes = jax.eval_shape(dense_as_maps.init, jax.random.key(1), images)
    turned = models.dense_as_convolutions(variables)["params"]
    turned["upscore"] = random(shapes["params"]["upscore"])
    assert jax.tree.map(np.shape, {"params": turned}) == jax.tree.map(np.shape, shapes)
    wanted = run(dense, variables, images)["logits"]
    scores = run(dense_as_maps, {"params": turned}, images)["scores"]
    assert scores.shape == (2, 7, 7, 5)
    np.testing.assert_allclose(
        scores[:, 3, 3] / wanted.max(), wanted / wanted.max(), atol=1e-4
    )
    assert np.abs(scores[:, 2, 3] - wanted).max() > 0.01 * np.abs(wanted).max()


def test_weights_of_a_classifier_begin_a_network_for_every_pixel():
    options = dict(features=(2,) * 5, hidden=4)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    classifier = models.create("vgg16", num_classes=9, **options)
    shapes = jax.eval_shape(classifier.init, jax.random.key(0), images)
    variables = random(shapes)
    published = {
        keys.published_key(path, ()): keys.to_published(path, leaf)
        for path, leaf in keys.flatten(variables).items()
    }
    loaded = pretrained.load("fcn8s", published, num_classes=5, **options)["params"]
    turned = models.dense_as_convolutions(variables)["params"]
    for layer in ("features.28", "classifier.0", "classifier.3"):
        np.testing.assert_array_equal(loaded[layer]["kernel"], turned[layer]["kernel"])
    assert not loaded["classifier.6"]["kernel"].any()  # begins with zeros
    assert loaded["upscore2"]["kernel"].any()
    trunk = models.trunk(variables)
    assert trunk["params"].keys() == {k for k in turned if k.startswith("features.")}


@pytest.mark.usefixtures("convolution_as_on_accelerators")
@pytest.mark.parametrize("factor", [2, 8])
def test_transposed_convolutions_begin_as_bilinear_interpolation(factor):
    x = np.random.default_rng(0).standard_normal((1, 6, 7, 3), np.float32)
    layer = ConvTranspose(3, factor, use_bias=False, kernel_init=bilinear)
    y, _ = layer.init_with_output(jax.random.key(0), x)
    wanted = jax.image.resize(x, (1, 6 * factor, 7 * factor, 3), "bilinear")
    assert y.shape == wanted.shape
    # Beyond the border there are zeros, which interpolation repeats the border for.
    half = factor // 2
    inside = (slice(None), slice(half, -half), slice(half, -half))
    np.testing.assert_allclose(y[inside], wanted[inside], atol=1e-5)
