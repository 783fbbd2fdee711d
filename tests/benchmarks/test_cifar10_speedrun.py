"""airbench's recipes: every part against NumPy, the steps against PyTorch's losses."""

import itertools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import cifar10_speedrun as speedrun
from benchmarks.cifar10_speedrun import (
    RECIPES,
    Config,
    Data,
    Muon,
    Plan,
    State,
    Triangle,
)
from benchmarks.peers import peer
from jaxvision.errors import UsageError

PER_EPOCH, STEPS = 2, 8
"""Of the short trainings here: the whitening layer stops at step 6."""
LOSSES = {
    94: [
        2.269967,
        2.084143,
        1.967431,
        1.851844,
        1.752422,
        1.631372,
        1.529183,
        1.447358,
    ],
    96: [
        2.320827,
        2.283961,
        2.245265,
        2.210606,
        2.179556,
        2.179094,
        2.157232,
        2.143323,
    ],
}
"""Of each step from `make_case`, by `speedrun.PEER` with PyTorch 2.13 on CPU."""


@pytest.fixture
def native(monkeypatch):
    """XLA's own convolution, which takes half the time to compile; that the forms of
    `ops.convolution` are equal to it is tested there."""
    monkeypatch.setattr(
        speedrun,
        "conv2d",
        lambda images, kernel, padding="SAME": jax.lax.conv_general_dilated(
            images, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
    )


def begin(variant):
    """Parameters and running statistics, compiled as one and not op by op."""
    return jax.jit(speedrun.init, static_argnums=1)(jax.random.key(0), RECIPES[variant])


def make_case(variant):
    """A narrow recipe, its parameters, whitening filters and images, and labels."""
    recipe = RECIPES[variant]._replace(widths=(8, 12, 16), batch_size=16)
    draw = np.random.default_rng(0)
    shapes, _ = jax.eval_shape(lambda: speedrun.init(jax.random.key(0), recipe))
    params = {
        name: draw.normal(0, (2 / max(1, np.prod(leaf.shape[:-1]))) ** 0.5, leaf.shape)
        for name, leaf in sorted(shapes.items())
    }
    arrays = params | {
        "filters": draw.normal(0, 0.5, (2, 2, 3, 24)),
        "images": draw.normal(0, 1, (16, 32, 32, 3)),
    }
    labels = draw.integers(0, 10, 16).astype(np.int32)
    return recipe, {n: a.astype(np.float32) for n, a in arrays.items()}, labels


# The published numbers -------------------------------------------------------


def test_the_recipes_are_those_of_the_table():
    muon, r95, r96 = RECIPES[94], RECIPES[95], RECIPES[96]
    assert (muon.epochs, muon.batch_size) == (8, 2000)
    assert speedrun.count_steps(muon, 50_000) == (25, 200)
    assert speedrun.count_steps(r95, 50_000) == (48, 15 * 48)
    assert speedrun.count_steps(r96, 50_000) == (48, 37 * 48)
    assert [r.widths for r in (muon, r95, r96)] == [
        (64, 256, 256),
        (128, 384, 384),
        (128, 384, 512),
    ]
    assert muon.optimizer == Muon(0.24, 0.6, 0.053, 0.67, 0.85, 2e-6)
    assert r95.optimizer == Triangle(10.0, 0.0153, 0.85, 64, 0.2, 0.23, 0.07)
    assert r96.optimizer == Triangle(9.0, 0.012, 0.85, 64, 0.2, 0.1, 0)
    assert [r.convs for r in (muon, r95, r96)] == [2, 2, 3]
    assert [(r.translate, r.cutout) for r in (muon, r95, r96)] == [
        (2, 0),
        (2, 0),
        (4, 12),
    ]
    assert [r.norm_decay for r in (muon, r95, r96)] == [0.6, 0.6, 0.9]
    assert {r.smoothing for r in (muon, r95, r96)} == {0.2}


@pytest.mark.parametrize("variant", [95, 96])
def test_triangle_is_three_points_joined(variant):
    rule, steps = RECIPES[variant].optimizer, 720
    shape = speedrun.triangle(rule, steps)
    places = [0, int(rule.peak * steps), steps]
    wanted = np.interp(np.arange(steps), places, [0.2, 1, {95: 0.07, 96: 0}[variant]])
    found = [float(shape(step)) for step in range(0, steps, 7)]
    np.testing.assert_allclose(found, wanted[::7], rtol=1e-5)


def first_update(recipe, params, gradients, after=0):
    """Of each parameter, `after` so many steps without a gradient."""
    transform = speedrun.make_optimizer(recipe, PER_EPOCH, STEPS)
    update, zeros = jax.jit(transform.update), jax.tree.map(jnp.zeros_like, params)
    state = transform.init(params)
    for _ in range(after):
        _, state = update(zeros, state, zeros)
    return update(gradients, state, params)[0]


def test_decoupled_rates_become_those_of_sgd():
    recipe = RECIPES[95]
    ones = dict.fromkeys(("conv0", "norm0", "head", "whiten"), jnp.ones((1, 1)))
    zeros = jax.tree.map(jnp.zeros_like, ones)
    # By the table: lr/(1024·(1 + 1/(1 - m))), wd·bs/(1024·(1 + 1/(1 - m))), both at
    # 0.2 of the full rate in the first step, and 1 + m for Nesterov.
    scale, nesterov = 1024 * (1 + 1 / 0.15), 1.85
    moved = first_update(recipe, zeros, ones)
    for name, factor in {"conv0": 1, "norm0": 64, "head": 1, "whiten": 1}.items():
        wanted = -0.2 * factor * 10.0 / scale * nesterov
        np.testing.assert_allclose(moved[name], wanted, rtol=1e-5)
    shrunk = first_update(recipe, ones, zeros)
    for name in ones:
        wanted = -0.2 * 0.0153 * 1024 / scale * nesterov
        np.testing.assert_allclose(shrunk[name], wanted, rtol=1e-5)


def test_rates_of_the_muon_recipe_fall_to_zero():
    recipe = RECIPES[94]
    ones = dict.fromkeys(("norm0", "head", "whiten"), jnp.ones((1, 1)))
    zeros = jax.tree.map(jnp.zeros_like, ones)
    rates = {"norm0": 0.053, "head": 0.67, "whiten": 0.053}
    for after in (0, 3, 7):
        moved = first_update(recipe, zeros, ones, after)
        for name, rate in rates.items():
            end = 6 if name == "whiten" else STEPS
            wanted = -rate * max(0, 1 - after / end) * 1.85
            np.testing.assert_allclose(moved[name], wanted, rtol=1e-5)
    shrunk = first_update(recipe, ones, zeros)
    for name in rates:
        np.testing.assert_allclose(shrunk[name], -2e-6 * 2000 * 1.85, rtol=1e-5)


# The parts -------------------------------------------------------------------


def test_whitened_patches_have_no_correlation():
    draw = np.random.default_rng(1)
    smooth = draw.normal(0, 1, (20, 33, 33, 3)) @ draw.normal(0, 1, (3, 3))
    images = (smooth[:, 1:, 1:] + smooth[:, :-1, :-1]).astype(np.float32)
    filters = np.asarray(speedrun.whitening_filters(jnp.asarray(images), epsilon=0))
    assert filters.shape == (2, 2, 3, 24)
    np.testing.assert_array_equal(filters[..., 12:], -filters[..., :12])
    whitened = np.asarray(
        speedrun.conv2d(jnp.asarray(images), jnp.asarray(filters), padding="VALID")
    )[..., :12].reshape(-1, 12)
    np.testing.assert_allclose(
        whitened.T @ whitened / len(whitened), np.eye(12), atol=2e-3
    )
    damped = speedrun.whitening_filters(jnp.asarray(images), epsilon=1.0)
    assert np.abs(damped).max() < np.abs(filters).max()


@pytest.mark.slow
def test_convolutions_begin_as_the_identity():
    params, running = begin(94)
    images = np.random.default_rng(0).normal(0, 1, (1, 5, 5, 24)).astype(np.float32)
    y = speedrun.conv2d(jnp.asarray(images), params["conv0"])
    np.testing.assert_allclose(y[..., :24], images, rtol=1e-6)
    assert np.abs(params["conv0"][..., 24:]).max() <= 1 / np.sqrt(9 * 24)
    np.testing.assert_allclose(params["head"].std(), 1, rtol=1e-6)
    np.testing.assert_array_equal(running["norm5"], [[0] * 256, [1] * 256])
    plain, _ = begin(95)
    assert np.abs(plain["head"]).max() <= 1 / np.sqrt(384)
    assert not plain["whiten"].any() and params["whiten"].any()


@pytest.mark.slow
def test_flips_alternate_and_epochs_are_permutations():
    recipe = RECIPES[96]._replace(batch_size=10, epochs=4.5)
    make_plan = jax.jit(speedrun.make_plan, static_argnums=(1, 2))
    plan = jax.tree.map(np.asarray, make_plan(jax.random.key(0), recipe, 50))
    assert plan.examples.shape == plan.flips.shape == (23, 10)
    epochs = []
    for epoch in range(4):
        rows = slice(5 * epoch, 5 * epoch + 5)
        examples = plan.examples[rows].ravel()
        assert sorted(examples) == list(range(50))
        flips = np.empty(50, bool)
        flips[examples] = plan.flips[rows].ravel()
        epochs.append(flips)
    assert 10 < epochs[0].sum() < 40
    for before, after in itertools.pairwise(epochs):
        np.testing.assert_array_equal(after, ~before)
    assert (plan.examples[0] != plan.examples[5]).any()
    assert set(plan.shifts.ravel()) == set(range(9))
    assert plan.blanks.min() == 0 and plan.blanks.max() == 20


def test_a_batch_is_cropped_flipped_and_blanked():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (4, 32, 32, 3), np.uint8)
    plan = Plan(
        examples=jnp.array([3, 1, 0]),
        flips=jnp.array([False, True, True]),
        shifts=jnp.array([[0, 4], [3, 1], [2, 2]]),
        blanks=jnp.array([[0, 0], [5, 9], [20, 20]]),
    )
    padded = speedrun.pad(jnp.asarray(images), 2)
    mirrored = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(padded, mirrored)
    make_batch = jax.jit(speedrun.make_batch, static_argnums=(2, 3))
    found = make_batch(padded, plan, 12, jnp.float32)
    for i, (example, flip, (y, x), (top, left)) in enumerate(
        zip(*map(np.asarray, plan), strict=True)
    ):
        wanted = mirrored[example, y : y + 32, x : x + 32]
        wanted = wanted[:, ::-1] if flip else wanted
        wanted = (wanted / 255 - speedrun.MEAN) / speedrun.STD
        wanted[top : top + 12, left : left + 12] = 0
        np.testing.assert_allclose(found[i], wanted, atol=1e-5)
    whole = make_batch(padded, plan._replace(blanks=None), 0, jnp.float32)
    assert (np.asarray(whole) != 0).all(axis=(1, 2, 3)).sum() >= 2


def test_orthogonalised_filters_keep_their_singular_vectors():
    draw = np.random.default_rng(0)
    filters = {
        "conv0": jnp.asarray(draw.normal(0, 3, (3, 3, 6, 10)), jnp.float32),
        "conv1": jnp.asarray(draw.normal(0, 0.1, (3, 3, 2, 30)), jnp.float32),
    }
    orthogonalise = jax.jit(speedrun.orthogonalise)
    found = orthogonalise(filters)
    for name, update in filters.items():
        columns = update.shape[-1]
        u, _, vt = np.linalg.svd(update.reshape(-1, columns), full_matrices=False)
        inside = u.T @ np.asarray(found[name]).reshape(-1, columns) @ vt.T
        values = np.diag(inside)
        assert values.min() > 0.5 and values.max() < 1.3
        np.testing.assert_allclose(inside - np.diag(values), 0, atol=1e-3)
        alone = orthogonalise({name: update})[name]
        np.testing.assert_allclose(found[name], alone, atol=1e-5)


def test_muon_resets_the_norm_before_it_moves():
    draw = np.random.default_rng(0)
    shape = (3, 3, 4, 8)
    params, g1, g2 = (jnp.asarray(draw.normal(0, 1, shape), jnp.float32) for _ in "012")
    transform = speedrun.muon(0.24, 0.6, optax.constant_schedule(1.0))
    update, state = jax.jit(transform.update), transform.init({"conv0": params})
    momentum, wanted = 0, np.asarray(params)
    found = {"conv0": params}
    for gradient in (g1, g2):
        updates, state = update({"conv0": gradient}, state, found)
        found = optax.apply_updates(found, updates)
        momentum = 0.6 * momentum + gradient
        direction = jax.jit(speedrun.orthogonalise)(gradient + 0.6 * momentum)
        wanted = wanted * np.sqrt(8) / np.linalg.norm(wanted) - 0.24 * direction
        np.testing.assert_allclose(found["conv0"], wanted, atol=1e-5)


def test_lookahead_pulls_every_fifth_step():
    def state(value, average):
        pair = ({"head": jnp.array(value)}, {"norm0": jnp.array(value)})
        old = ({"head": jnp.array(average)}, {"norm0": jnp.array(average)})
        return State(*pair, (), old)

    unmoved = speedrun.lookahead(state(3.0, 1.0), jnp.array(4), 20)
    assert (unmoved.params["head"], unmoved.average[0]["head"]) == (3, 1)
    pulled = speedrun.lookahead(state(3.0, 1.0), jnp.array(10), 20)
    keep = 0.95**5 * 0.5**3
    for found in (
        pulled.params["head"],
        pulled.running["norm0"],
        pulled.average[0]["head"],
        pulled.average[1]["norm0"],
    ):
        np.testing.assert_allclose(found, keep * 1 + (1 - keep) * 3, rtol=1e-6)


def test_six_views_vote_with_their_weights(monkeypatch):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (60, 32, 32, 3), np.uint8)
    labels = draw.integers(0, 10, 60).astype(np.int32)
    weights = draw.normal(0, 1, (32 * 32 * 3, 10)).astype(np.float32)
    monkeypatch.setattr(
        speedrun,
        "network",
        lambda params, running, filters, x, recipe, train: (
            jnp.cos(x.reshape(len(x), -1) @ weights / 20),
            running,
        ),
    )
    data = Data(images, labels, jnp.asarray(images), jnp.asarray(labels))
    found = speedrun.evaluate(({}, {}), None, data, RECIPES[94], jnp.float32)

    pixels = ((images / 255 - speedrun.MEAN) / speedrun.STD).astype(np.float32)
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")

    def both(x):
        scores = [np.cos(v.reshape(60, -1) @ weights / 20) for v in (x, x[:, :, ::-1])]
        return (scores[0] + scores[1]) / 2

    shifted = both(padded[:, :-2, :-2]) + both(padded[:, 2:, 2:])
    scores = both(pixels) / 2 + shifted / 4
    np.testing.assert_allclose(found, (scores.argmax(1) == labels).mean(), atol=1e-6)
    assert sum(speedrun.VIEW_WEIGHTS) == 1


# The whole -------------------------------------------------------------------


def train(variant):
    """The loss of each step and the bias of whitening before and after each."""
    recipe, arrays, labels = make_case(variant)
    filters, images = arrays.pop("filters"), arrays.pop("images")
    transform = speedrun.make_optimizer(recipe, PER_EPOCH, STEPS)
    params = jax.tree.map(jnp.asarray, arrays)
    _, shapes = jax.eval_shape(lambda: speedrun.init(jax.random.key(0), recipe))
    running = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape).at[1].set(1), shapes)
    averages = isinstance(recipe.optimizer, Triangle)
    average = (params, running) if averages else None
    state = State(params, running, transform.init(params), average)

    def step(state, done):
        state, loss = speedrun.train_step(
            state, images, labels, filters, recipe, transform, whiten=True
        )
        return speedrun.lookahead(state, done, STEPS) if averages else state, loss

    program = jax.jit(step)
    losses, biases = [], [params["whiten"]]
    for done in range(1, STEPS + 1):
        state, loss = program(state, jnp.array(done))
        losses.append(float(loss))
        biases.append(state.params["whiten"])
    return losses, np.asarray(biases)


@pytest.mark.parametrize("variant", [94, 96])
@pytest.mark.slow
def test_steps_lose_what_pytorch_loses(variant, native):
    losses, biases = train(variant)
    np.testing.assert_allclose(losses, LOSSES[variant], rtol=2e-5)
    moved = np.abs(np.diff(biases, axis=0)).max(axis=1)
    assert (moved[:6] > 0).all() and (moved[6:] == 0).all()


def test_pytorch_still_loses_this(tmp_path):
    python = os.environ.get("TORCH_PYTHON")
    if python is None:
        pytest.skip("TORCH_PYTHON names no interpreter with PyTorch")
    for variant, wanted in LOSSES.items():
        recipe, arrays, labels = make_case(variant)
        file = tmp_path / f"{variant}.npz"
        arrays["images"] = np.stack([arrays["images"]] * STEPS)
        np.savez(file, **arrays, labels=np.stack([labels] * STEPS))
        with peer(Path(python), speedrun.PEER) as ask:
            losses = ask(
                "losses", speedrun.to_json(recipe), str(file), PER_EPOCH, STEPS
            )
        np.testing.assert_allclose(losses, wanted, rtol=1e-5)


@pytest.mark.slow
def test_runs_learn_and_many_at_once_are_the_same_runs():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, 100).astype(np.int32)
    colours = draw.integers(0, 256, (10, 1, 1, 3))[labels]
    images = np.clip(colours + draw.normal(0, 20, (100, 32, 32, 3)), 0, 255)
    resident = jax.tree.map(
        jnp.asarray,
        Data(images[:60].astype(np.uint8), labels[:60],
             images[60:].astype(np.uint8), labels[60:]),
    )  # fmt: skip
    # One convolution in a group, and no epoch beyond the whitening, to compile less.
    recipe = RECIPES[94]._replace(widths=(8, 16, 16), convs=1, batch_size=10, epochs=3)
    run = speedrun.make_run(recipe, 60, jnp.float32)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    one, both = jax.jit(run), jax.jit(jax.vmap(run, in_axes=(0, None)))
    accuracies, losses = both(keys, resident)
    for i, key in enumerate(keys):
        accuracy, loss = one(key, resident)
        assert accuracy > 0.2 and loss[-5:].mean() < loss[:5].mean()
        # Later, what rounding began has grown.
        np.testing.assert_allclose(losses[i][:8], loss[:8], rtol=1e-3)
        np.testing.assert_allclose(accuracies[i], accuracy, atol=0.1)
    assert losses[0][0] != losses[1][0]


# The command line ------------------------------------------------------------


def test_summary_has_students_interval_and_the_ratio():
    results = {
        "ours": [(0.94, 1.0), (0.95, 3.0)],
        "torch": [(0.94, 4.0), (0.94, 4.0)],
    }
    found = speedrun.summarise(results)
    assert found["ours_runs"] == 2 and found["time_ratio"] == 0.5
    np.testing.assert_allclose(found["ours_accuracy"], 0.945)
    np.testing.assert_allclose(found["ours_seconds_std"], 2**0.5)
    np.testing.assert_allclose(found["ours_seconds_interval"], 12.706, rtol=1e-4)
    np.testing.assert_allclose(found["accuracy_difference"], 0.005)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(dataset="synthetic:28x28x1"), "a set like CIFAR-10"),
        (dict(dataset="synthetic:32x32x3", images=100), "batch size .* the 100 images"),
        (dict(dataset="synthetic:32x32x3", runs=1, batch_size=10), "runs of 2 or more"),
        (dict(dataset="synthetic:32x32x3", epochs=0.0, batch_size=9), "got 0.0"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        speedrun.main(Config(**options))
