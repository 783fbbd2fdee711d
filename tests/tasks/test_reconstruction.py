"""Autoencoders and adversaries as tasks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxvision import models, tasks
from jaxvision.errors import UsageError
from jaxvision.metrics.two_sample import neighbours_accuracy
from jaxvision.models.adversaries import Adversaries
from jaxvision.models.autoencoder import Autoencoder, DenseDecoder, DenseEncoder
from jaxvision.recipes import TASKS, recipe_of
from jaxvision.tasks.reconstruction import divergence, drawn
from jaxvision.types import Forward
from tests.tasks import kinds

SHAPE = (8, 8, 1)
KEYS = jax.random.split(jax.random.key(0), 3)
BATCH = {"image": jax.random.uniform(jax.random.key(1), (3, *SHAPE))}


def said(code, log_variance=None):
    """A model that encodes anything as `code`, and decodes it to its sum everywhere."""
    extra = {} if log_variance is None else {"log_variance": log_variance}

    def call(x, *, entry, **options):
        if entry == "encode":
            return {"code": code, "seen": x, **extra}, {}
        return {"logits": jnp.zeros((3, *SHAPE)) + x.sum(1)[:, None, None, None]}, {}

    return Forward(call, jnp.int32(0), {})


def test_divergence_is_the_integral_that_it_stands_for():
    mean, log_variance = 0.7, -0.4
    deviation = np.exp(0.5 * log_variance)

    def integrand(x):
        p = stats.norm.logpdf(x, mean, deviation)
        return np.exp(p) * (p - stats.norm.logpdf(x))

    expected = integrate.quad(integrand, -12, 12)[0]
    found = divergence(jnp.array([[mean, 0.0]]), jnp.array([[log_variance, 0.0]]))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_codes_are_drawn_with_their_mean_and_variance():
    keys = jax.random.split(jax.random.key(3), 4000)
    code = jnp.array([[2.0, -1.0]]).repeat(4000, 0)
    outputs = {"code": code, "log_variance": jnp.log(0.25) + 0 * code}
    found = drawn(keys, outputs)
    np.testing.assert_allclose(found.mean(0), [2, -1], atol=0.03)
    np.testing.assert_allclose(found.std(0), [0.5, 0.5], atol=0.03)
    assert drawn(keys, {"code": code}) is code


def test_loss_is_cross_entropy_and_costs():
    code, variance = jnp.full((3, 2), 0.5), jnp.zeros((3, 2)) - 60.0
    task = tasks.reconstruction(sparsity=0.1)
    mask = jnp.array([True, True, False])
    forward, whole = said(code, variance), {**BATCH, "mask": mask}
    sums, _ = jax.jit(lambda: task.update(forward, whole, keys=KEYS))()
    found = task.compute(sums, {})
    share = 1 / (1 + np.exp(-1))
    image = np.asarray(BATCH["image"])[:2]
    pixels = -(image * np.log(share) + (1 - image) * np.log(1 - share))
    expected = pixels.sum((1, 2, 3)).mean()
    assert found["pixels"] == pytest.approx(expected, rel=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(image - share).mean()))
    cost = divergence(code, variance)[0]
    assert found["divergence"] == pytest.approx(float(cost), rel=1e-5)
    assert found["sparsity"] == pytest.approx(0.1, rel=1e-5)
    assert found["loss"] == pytest.approx(expected + float(cost) + 0.1, rel=1e-5)
    (total, count), _ = jax.jit(lambda: task.loss(forward, BATCH, key=KEYS[0]))()
    assert int(count) == 3 and float(total) > 3 * float(cost)


def test_noise_is_seen_and_not_wanted():
    seen = []

    def call(x, *, entry, **options):
        if entry == "encode":
            seen.append(x)
            return {"code": jnp.zeros((3, 2))}, {}
        return {"logits": jnp.zeros((3, *SHAPE))}, {}

    task = tasks.reconstruction(noise=0.5)
    sums, _ = task.update(Forward(call, jnp.int32(0), {}), BATCH, keys=KEYS)
    noise = seen[0] - BATCH["image"]
    assert float(noise.std()) == pytest.approx(0.5, rel=0.2)
    rmse = float(jnp.sqrt(jnp.square(BATCH["image"] - 0.5).mean()))
    assert task.compute(sums, {})["rmse"] == pytest.approx(rmse, rel=1e-5)


def test_nearest_neighbours_tell_samples_apart_or_do_not():
    draw = np.random.default_rng(0)
    one, other = draw.standard_normal((2, 400, 3))
    assert neighbours_accuracy(one, other) == pytest.approx(0.5, abs=0.06)
    assert neighbours_accuracy(one, other + 50) == 1
    assert neighbours_accuracy(one, one.copy()) == 0


def test_each_adversary_has_the_gradient_of_its_own_loss():
    parts = DenseDecoder(SHAPE, (4,)), DenseEncoder((4,))
    model = models.from_linen(Adversaries(*parts, latent=2))
    task = tasks.adversarial(2)
    params = jax.jit(model.init)(jax.random.key(0), BATCH["image"])["params"]

    def losses(params):
        fixed = jax.lax.stop_gradient(params)

        def call(x, *, entry, fixed=False, **options):
            own = constants if fixed else params
            return model.apply({"params": own}, x, entry=entry)[0], {}

        constants = fixed
        (totals, _), _ = task.loss(
            Forward(call, jnp.int32(0), {}), BATCH, key=jax.random.key(2)
        )
        return totals

    gradients = jax.jit(jax.jacrev(losses))(params)

    def moved(name, part):
        return any(
            np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients[name][part])
        )

    assert moved("critic", "critic") and not moved("critic", "generator")
    assert moved("generator", "generator") and not moved("generator", "critic")


@pytest.mark.parametrize(
    "task", [tasks.reconstruction(noise=0.2), tasks.adversarial(4)]
)
def test_a_task_has_a_recipe(task):
    recipe = recipe_of(task)
    assert recipe is not None and recipe_of(TASKS.make(recipe)) == recipe


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: tasks.reconstruction(noise=-1.0),
            "noise must not be negative",
        ),
        (lambda: tasks.reconstruction(sparsity=-1.0), "sparsity must not be negative"),
        (lambda: tasks.reconstruction(noise=1.0, look=print), "let `look` add them"),
        (lambda: tasks.adversarial(0), "latent must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.slow
def test_a_variational_autoencoder_is_trained_by_the_loop():
    from jaxvision.runs import trained

    parts = DenseEncoder((16,)), DenseDecoder(SHAPE, (16,))
    model = models.from_linen(Autoencoder(*parts, code=2, variational=True))
    experiment = kinds.experiment(
        model, tasks.reconstruction(), steps=8, log_every=8, eval_every=8
    )
    done = trained(experiment)
    assert np.isfinite(done.metrics["loss"])
    assert done.metrics["loss"] == pytest.approx(
        done.metrics["pixels"] + done.metrics["divergence"], rel=1e-4
    )
    leaves = jax.tree.leaves(done.variables["params"])
    assert done.parameters == sum(leaf.size for leaf in leaves)
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves)
