"""The networks of the chart: their parts do what their equations say."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from experiments import chart_of_networks as chart
from experiments.chart import coders, copying, energies, maps, parts, reservoirs
from jaxvision.errors import UsageError
from jaxvision.visualise.page import text


@pytest.fixture(scope="module")
def patterns():
    """Five patterns of -1 and 1 over 40 units."""
    drawn = np.random.default_rng(0).integers(0, 2, (5, 40))
    return jnp.asarray(2 * drawn - 1, jnp.float32)


@pytest.mark.parametrize("rule", [energies.hebbian, energies.projection])
def test_the_energy_of_a_hopfield_network_never_rises(patterns, rule):
    couplings = rule(patterns)
    np.testing.assert_allclose(couplings, couplings.T, atol=1e-6)
    assert not np.diagonal(couplings).any()
    start = jnp.where(jax.random.bernoulli(jax.random.key(1), 0.5, (40,)), 1.0, -1.0)
    end, levels = energies.recall(couplings, start, jax.random.key(2))
    every = np.concatenate([[energies.energy(couplings, start)], levels])
    assert (np.diff(every) <= 1e-5).all() and every[-1] < every[0] - 1
    np.testing.assert_allclose(every[-1], energies.energy(couplings, end), rtol=1e-4)


def test_a_hopfield_network_recalls_its_patterns(patterns):
    couplings = energies.projection(patterns)
    for k, pattern in enumerate(patterns):
        disturbed = pattern.at[jnp.arange(4 * k, 4 * k + 4)].multiply(-1)
        found, _ = energies.recall(couplings, disturbed, jax.random.key(k))
        np.testing.assert_array_equal(found, pattern)


def binary(count):
    return jnp.array([*itertools.product((0.0, 1.0), repeat=count)])


def test_a_restricted_machine_has_the_conditionals_of_its_energy():
    keys = jax.random.split(jax.random.key(0), 3)
    machine = energies.Restricted(
        jax.random.normal(keys[0], (3, 3)), *jax.random.normal(keys[1], (2, 3))
    )
    states = binary(3)

    def weight(v, h):  # exp(-energy), of all pairs
        linear = (v @ machine.visible)[:, None] + (h @ machine.hidden)[None]
        return np.exp(np.asarray(v @ machine.weights @ h.T + linear))

    joint = weight(states, states)  # [8 visible, 8 hidden]
    up = (joint @ np.asarray(states)) / joint.sum(1, keepdims=True)
    down = (joint.T @ np.asarray(states)) / joint.sum(0)[:, None]
    np.testing.assert_allclose(energies.up(machine, states), up, rtol=1e-5)
    np.testing.assert_allclose(energies.down(machine, states), down, rtol=1e-5)
    free = -np.log(joint.sum(1))
    np.testing.assert_allclose(energies.free_energy(machine, states), free, rtol=1e-4)


def test_gibbs_sampling_has_the_distribution_of_its_energy():
    couplings = jnp.array([[0.0, 1.5, -1.0], [1.5, 0.0, 0.5], [-1.0, 0.5, 0.0]])
    machine = energies.Machine(couplings, jnp.array([0.2, -0.5, 0.3]))
    states = binary(3)
    levels = 0.5 * ((states @ couplings) * states).sum(1) + states @ machine.biases
    expected = np.exp(levels) / np.exp(levels).sum()
    found = jnp.zeros((20_000, 3))
    for key in jax.random.split(jax.random.key(0), 12):
        found = energies.gibbs(machine, found, jnp.arange(3), key)
    index = np.asarray(found @ jnp.array([4.0, 2.0, 1.0])).astype(int)
    shares = np.bincount(index, minlength=8) / len(index)
    np.testing.assert_allclose(shares, expected, atol=0.015)


def test_a_restricted_machine_learns_what_it_sees():
    rows = jnp.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]).repeat(50, 0)
    machine = energies.learn_restricted(jax.random.key(0), rows, 4, steps=300)
    every = energies.free_energy(machine, binary(4))
    lowest = {tuple(row) for row in np.asarray(binary(4))[np.argsort(every)[:2]]}
    assert lowest == {(1, 1, 0, 0), (0, 0, 1, 1)}


def test_a_markov_chain_counts_transitions():
    states = np.array([[0, 1, 1, 2], [2, 0, 1, 1]])
    counts = maps.transitions(states, 3)
    np.testing.assert_array_equal(counts, [[0, 2, 0], [0, 2, 1], [1, 0, 0]])
    found = maps.chain(states, 3, prior=1e-9)
    np.testing.assert_allclose(np.exp(found.first), [0.5, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(np.exp(found.after[1]), [0, 2 / 3, 1 / 3], atol=1e-6)
    by_hand = np.log(1 / 2 * 1 * 2 / 3 * 1 / 3)
    np.testing.assert_allclose(maps.likelihood(found, states)[0], by_hand, rtol=1e-6)
    path = maps.wandering(found, 50, np.random.default_rng(0))
    assert (maps.transitions(path[None], 3)[counts == 0] == 0).all()


def test_a_kohonen_map_orders_a_line():
    data = jax.random.uniform(jax.random.key(0), (500, 1))
    line = jnp.concatenate([data, data], axis=1)
    units = maps.kohonen_map(jax.random.key(1), line, 5, steps=2000)
    along = np.asarray(units[..., 0])
    # Of a surface laid upon a line one direction is ordered, or the diagonal.
    steps = [np.diff(along, axis=axis).mean() for axis in (0, 1)]
    slope = np.array(steps) / np.abs(steps).max()
    rows, columns = np.mgrid[:5, :5]
    place = (slope[0] * rows + slope[1] * columns).ravel()
    assert np.corrcoef(place, along.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(units[..., 0], units[..., 1], atol=0.05)


def test_a_read_out_solves_the_normal_equations():
    draw = np.random.default_rng(0)
    features, targets = draw.standard_normal((30, 5)), draw.standard_normal((30, 2))
    found = reservoirs.ridge(features, targets, 0.7)
    wide = reservoirs.with_constant(features)
    left = wide.T @ (wide @ found - targets) + 0.7 * found
    np.testing.assert_allclose(left, 0, atol=1e-10)
    peer = Ridge(alpha=0.7, fit_intercept=False).fit(wide, targets)
    np.testing.assert_allclose(found, peer.coef_.T, rtol=1e-6)


def test_echoes_die_away_and_spikes_are_all_or_nothing():
    net = reservoirs.echo(jax.random.key(0), 3, 30, radius=0.8, leak=0.5)
    largest = np.abs(np.linalg.eigvals(net.recurrent)).max()
    assert largest == pytest.approx(0.8, rel=1e-4)
    rows = jnp.zeros((1, 60, 3)).at[:, 0].set(1)
    activity = np.abs(reservoirs.echoes(net, rows)[0]).max(1)
    assert activity[0] > 0.1 and activity[-1] < 1e-3 * activity[0]
    fired = reservoirs.spikes(net, rows + 1, hold=2)
    assert fired.shape == (1, 120, 30)
    assert set(np.unique(fired)) == {0.0, 1.0}
    # Without a neighbour, voltages are a geometric series until they reach 1.
    alone = reservoirs.Echo(jnp.array([[0.4]]), jnp.zeros((1, 1)), 0.1)
    fired = reservoirs.spikes(alone, jnp.ones((1, 7, 1)), hold=1)
    np.testing.assert_array_equal(fired[0, :, 0], [0, 0, 1, 0, 0, 1, 0])


def test_a_description_has_the_moments_of_a_digit():
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 4:8, 10:12] = 1
    found = coders.description(jnp.asarray(image), jnp.array([2]), 3)[0]
    np.testing.assert_array_equal(found[:3], [0, 0, 1])
    grid = np.linspace(-1, 1, 16)
    x, y = grid[10:12], grid[4:8]
    expected = [5 * 8 / 256, x.mean(), y.mean(), 3 * x.std(), 3 * y.std(), 0]
    np.testing.assert_allclose(found[3:], expected, atol=2e-3)


def test_turned_images_go_against_the_clock_and_back():
    image = jnp.zeros((1, 16, 16, 1)).at[:, 2, 7:9].set(1)

    @jax.jit
    def there_and_back(image):
        left = coders.turned(image, jnp.array([90.0]))
        return left, coders.turned(left, jnp.array([-90.0]))

    left, back = there_and_back(image)
    np.testing.assert_allclose(left, jnp.rot90(image, axes=(1, 2)), atol=1e-3)
    np.testing.assert_allclose(back, image, atol=1e-3)


def test_what_a_turing_machine_is_shown_and_should_say():
    source = copying.sequences("bits:test", 5, seed=0)
    read = source.read()
    batch = {
        "image": jnp.asarray(read["image"] / np.float32(255)),
        "label": jnp.asarray(read["label"]),
    }
    seen, (said, when) = copying.shown(batch), copying.wanted(batch)
    for i, length in enumerate(read["label"] + 1):
        rows = batch["image"][i, :length, :, 0]
        np.testing.assert_array_equal(seen[i, :length, :-1], rows)
        assert not seen[i, length:, :-1].any()
        assert np.flatnonzero(seen[i, :, -1]).tolist() == [length]
        assert np.flatnonzero(when[i]).tolist() == [*range(length + 1, 2 * length + 1)]
        np.testing.assert_array_equal(said[i, length + 1 : 2 * length + 1], rows)


def test_who_copies_all_is_right_and_who_errs_once_is_not():
    read = copying.sequences("bits:test", 6, seed=0).read()
    batch = {
        "image": jnp.asarray(read["image"] / np.float32(255)),
        "label": jnp.asarray(read["label"]),
    }
    said, when = copying.wanted(batch)
    logits = 20 * said - 10
    first = int(jnp.argmax(when[0]))

    def measured(logits):
        task = copying.copying()
        sums, _ = task.update(lambda x: ({"logits": logits}, {}), batch, keys=None)
        return task.compute(sums, {})

    assert measured(logits)["copied"] == 1 and measured(logits)["bits"] == 1
    wrong = measured(logits.at[0, first, 0].multiply(-1))
    assert wrong["copied"] == pytest.approx(5 / 6)
    assert wrong["bits"] == pytest.approx(1 - 1 / (6 * int(when.sum())))


def test_networks_are_chosen_in_the_order_of_the_chart():
    assert [*chart.chosen("gru, lstm")] == ["lstm", "gru"]
    assert [*chart.chosen("")] == [*chart.NETWORKS]
    with pytest.raises(UsageError, match="unknown network 'lsmt': did you mean 'lstm'"):
        chart.chosen("gru,lsmt")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("synthetic:28x28x3", "3 channels"),
        ("synthetic:28x20x1", "28×20"),
        ("synthetic:18x18x1", "multiple of 4"),
    ],
)
def test_other_images_are_refused(dataset, message):
    with pytest.raises(UsageError, match=message):
        parts.read(dataset, 1.0, 0)


def test_a_chart_without_steps_is_refused():
    with pytest.raises(UsageError, match="--effort must be positive, got 0"):
        chart.examine(chart.Config(effort=0.0))


def test_every_network_is_on_the_page():
    picture = np.zeros((4, 4, 3), np.uint8)
    found = {}
    for name, network in chart.NETWORKS.items():
        numbers = {measure.name: 0.5 for measure in network.measures}
        found[name] = network, parts.Learned(numbers, picture, 1)
    page = text("chart", chart.body(found, "mnist_5k"))
    assert len(re.findall("<h2", page)) == len(chart.NETWORKS) == 27
    for name in chart.NETWORKS:
        assert f'href="#{name}"' in page and f'id="{name}"' in page
    assert page.count("<img") == 27 and page.count("<svg") >= 27 + 13


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_network_learns_on_small_images(capsys):
    config = chart.Config(dataset="synthetic:16x16x1", effort=0.004)
    found = chart.examine(config)
    assert found.numbers.keys() == {measure.name for measure in found.measures}
    assert all(np.isfinite(value) for value in found.numbers.values())
    assert {f"{name}.png" for name in chart.NETWORKS} < found.files.keys()
    assert capsys.readouterr().out.count(" s)") == len(chart.NETWORKS)
