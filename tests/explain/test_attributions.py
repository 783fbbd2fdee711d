"""Where in an image a class is seen: what is true of the methods, and of the curves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import explain
from jaxvision.errors import UsageError
from jaxvision.explain.methods import METHODS, Setting
from jaxvision.explain.opened import opened
from jaxvision.explain.scores import in_batches, score_of
from tests import predictors
from tests.explain import planted

BLACK = jnp.zeros((planted.SIDE, planted.SIDE, 1))


def network(kind):
    """`(variables, images) -> activations` of a tiny network, and its variables."""
    made = predictors.make(kind)
    return lambda v, images: made.model.apply(v, images)[0], made.variables


def of_class(k):
    return lambda outputs: score_of(outputs, k)


@functools.cache
def images(count=2):
    pixels = np.stack(predictors.pictures(count))
    return jnp.asarray(pixels / 255 * 4 - 2, jnp.float32)


def test_integrated_gradients_add_up_to_what_the_score_gains():
    apply, variables = network("mlp")
    score = explain.class_score(lambda images: apply(variables, images), 1)
    parts = jax.jit(lambda x: explain.integrated_gradients(score, x, 0.1, steps=64))(
        images()
    )
    gained = score(images()) - score(jnp.full_like(images(), 0.1))
    assert jnp.abs(gained).min() > 0.1
    np.testing.assert_allclose(parts.sum((1, 2, 3)), gained, rtol=0.02)


def test_the_gradient_of_a_linear_score_is_its_weights_with_noise_or_without():
    weights = jax.random.normal(jax.random.key(1), (8, 8, 3))

    def score(images):
        return (images * weights[None]).sum((1, 2, 3))

    expected = jnp.broadcast_to(weights, images().shape)
    np.testing.assert_allclose(explain.saliency(score, images()), expected, rtol=1e-6)
    smooth = explain.smooth_grad(score, images(), jax.random.key(0), samples=3)
    np.testing.assert_allclose(smooth, expected, rtol=1e-5)

    def kinked(images):  # of which a single gradient tells one half
        return jnp.abs(images).sum((1, 2, 3))

    at_zero = jnp.zeros((1, 8, 8, 3)).at[0, 0, 0, 0].set(1e-3).at[0, 0, 0, 1].set(1.0)
    smooth = explain.smooth_grad(kinked, at_zero, jax.random.key(0), samples=200)
    assert abs(float(smooth[0, 0, 0, 0])) < 0.3 < float(smooth[0, 0, 0, 1])


def test_occlusion_finds_what_was_planted():
    score = explain.class_score(planted.forward, 0)
    for seed in range(3):
        falls = explain.occlusion(
            score, planted.image(seed), 0.0, window=5, stride=2, batch_size=10
        )
        assert planted.INSIDE.ravel()[int(falls.argmax())]
        assert falls[planted.INSIDE].mean() > 3 * jnp.abs(falls[~planted.INSIDE]).mean()


def test_occlusion_is_the_mean_of_the_squares_that_cover_a_pixel():
    image = jax.random.uniform(jax.random.key(0), (5, 7, 1))
    falls = explain.occlusion(
        lambda x: x.sum((1, 2, 3)), image, 0.0, window=3, stride=2
    )
    tops, lefts = (0, 2), (0, 2, 4)
    expected, count = np.zeros((5, 7)), np.zeros((5, 7))
    for top in tops:
        for left in lefts:
            square = np.s_[top : top + 3, left : left + 3]
            expected[square] += np.asarray(image)[square].sum()
            count[square] += 1
    np.testing.assert_allclose(falls, expected / count, rtol=1e-5)


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if m.needs != "attention"]
)
def test_each_method_ranks_pixels_better_than_chance(name):
    """By insertion and by deletion, and its strongest place is in the pattern."""

    @jax.jit
    def measured(image, chance):
        setting = Setting(
            planted.forward, of_class(0), "coarse", BLACK, jax.random.key(0)
        )
        relevance = METHODS[name].call(setting, image)
        relevance = jax.image.resize(relevance, image.shape[:2], "bilinear")

        def probability(images):
            return jax.nn.softmax(4 * planted.forward(images)["logits"])[:, 0]

        return relevance, [
            [
                curve(probability, image, ranked, BLACK).mean()
                for curve in (explain.insertion_curve, explain.deletion_curve)
            ]
            for ranked in (relevance, chance)
        ]

    draws = np.random.default_rng(0)
    for seed in range(3):
        chance = jnp.asarray(draws.random((planted.SIDE, planted.SIDE)), jnp.float32)
        relevance, (ours, random) = measured(planted.image(seed), chance)
        assert relevance.min() >= 0
        assert planted.INSIDE.ravel()[int(relevance.argmax())]
        assert ours[0] > random[0] + 0.05 and ours[1] < random[1] - 0.05


def test_curves_begin_and_end_at_the_scores_of_both_images():
    image = jax.random.uniform(jax.random.key(0), (6, 6, 1))

    def score(images):
        return images.sum((1, 2, 3))

    curve = explain.insertion_curve(score, image, image[..., 0], 0.0, steps=9)
    assert curve.shape == (10,) and curve[0] == 0
    np.testing.assert_allclose(curve[-1], image.sum(), rtol=1e-5)
    gains = np.diff(np.asarray(curve))
    assert (np.diff(gains) <= 1e-5).all()  # the largest come first
    deleted = explain.deletion_curve(score, image, image[..., 0], 0.0, steps=9)
    np.testing.assert_allclose(deleted, image.sum() - curve, atol=1e-5)


def test_of_a_linear_head_grad_cam_is_the_class_activation_map():
    """Zhou et al. 2016: the maps, weighted by the weights of the class."""
    weights = jax.random.normal(jax.random.key(0), (3, 4))

    def forward(images):
        maps = jax.nn.relu(images)
        return {
            "maps": maps,
            "logits": jnp.matmul(maps.mean((1, 2)), weights, precision="highest"),
        }

    cam = explain.grad_cam(forward, lambda out: score_of(out, 2), "maps", images())
    maps = np.maximum(np.asarray(images()), 0)
    expected = np.maximum(maps @ np.asarray(weights)[:, 2] / 64, 0)
    np.testing.assert_allclose(cam, expected, rtol=1e-4, atol=1e-6)

    found = explain.grad_cam_plus_plus(
        forward, lambda out: score_of(out, 2), "maps", images()
    )
    g = np.asarray(weights)[:, 2] / 64
    share = g**2 / (2 * g**2 + maps.sum((1, 2)) * g**3)
    of_channels = 64 * share * np.maximum(g, 0)
    expected = np.maximum((maps * of_channels[:, None, None]).sum(-1), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["saliency", "grad_cam"])
def test_another_network_is_explained_otherwise(name):
    """Adebayo et al. 2018: with its weights drawn anew nothing of a map may be left."""
    apply, variables = network("resnet")

    @jax.jit
    def call(variables, image):
        forward = functools.partial(apply, variables)
        black, key = jnp.zeros((8, 8, 3)), jax.random.key(0)
        setting = Setting(forward, of_class(1), "stage2", black, key)
        return METHODS[name].call(setting, image).ravel()

    def explained(seed):
        draws = np.random.default_rng(seed)
        drawn = jax.tree.map(
            lambda w: draws.permutation(w.ravel()).reshape(w.shape) if seed else w,
            variables,
        )
        return np.concatenate([call(drawn, image) for image in images(4)])

    maps = explained(0)
    np.testing.assert_array_equal(maps, explained(0))
    others = [np.corrcoef(maps, explained(seed))[0, 1] for seed in (1, 2, 3)]
    assert np.nanmean(np.abs(others)) < 0.5


@pytest.mark.parametrize(
    "kind, name",
    [
        ("resnet", "stage1"),
        ("resnet", "pre_logits"),
        ("vit", "stage2"),
        ("vit", "pre_logits"),
    ],
)
def test_a_network_opened_anywhere_is_the_same_network(kind, name):
    apply, variables = network(kind)

    @jax.jit
    def both(images):
        forward = functools.partial(apply, variables)
        cut = opened(forward, lambda out: score_of(out, 2), name, images)
        shown, rest = cut.shown(cut.value), cut.rest(cut.value)
        return forward(images), shown, rest, cut.rest(cut.value * 2 + 1)

    expected, shown, rest, changed = both(images())
    np.testing.assert_allclose(shown, expected[name], atol=1e-5)
    scores = expected["logits"][:, 2]
    np.testing.assert_allclose(rest, scores, rtol=1e-4, atol=1e-5)
    assert jnp.abs(changed - scores).max() > 1e-3


def test_bad_input_is_named():
    forward = planted.forward

    def score(outputs):
        return score_of(outputs, 0)

    def beside(images):
        return {**forward(images), "copy": jnp.sin(images)}

    image = planted.image()[None]
    for call, message in (
        (lambda: explain.grad_cam(forward, score, "map", image), "did you mean 'maps'"),
        (
            lambda: explain.grad_cam(forward, score, "logits", image),
            "logits is [2] for each image and no map",
        ),
        (
            lambda: explain.grad_cam(beside, score, "copy", image),
            "does not depend on the activation copy",
        ),
        (lambda: explain.class_score(forward, 2)(image), "class 2 is not among the 2"),
        (lambda: score_of({"a": image}, 0, "b"), "unknown activation 'b'"),
        (
            lambda: explain.occlusion(score, image[0], 0.0, window=17, stride=1),
            "between 1 and the 16 pixels",
        ),
        (
            lambda: explain.occlusion(score, image[0], 0.0, window=4, stride=5),
            "between 1 and the window of 4, got 5",
        ),
        (
            lambda: explain.insertion_curve(score, image[0], jnp.zeros((3, 3)), 0.0),
            "must have the 16×16 pixels",
        ),
        (
            lambda: explain.smooth_grad(score, image, jax.random.key(0), samples=0),
            "samples must be positive",
        ),
    ):
        with pytest.raises(UsageError, match=message.replace("[", r"\[")):
            call()


def test_batches_do_not_change_scores():
    rows = jnp.arange(7.0)[:, None]
    for size in (1, 3, 7, 20):
        found = in_batches(lambda some: some[:, 0] ** 2, rows, size)
        np.testing.assert_allclose(found, np.arange(7.0) ** 2)


def test_the_score_of_a_map_is_the_mean_of_its_places():
    scores = jnp.asarray([[[[1.0, 0.0], [4.0, 5.0]], [[3.0, 2.0], [0.0, 0.5]]]])
    found = [float(score_of({"logits": scores}, k)[0]) for k in (0, 1)]
    assert found == [2.0, 1.875]
