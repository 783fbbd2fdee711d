"""Transforms that change during a training, and what of it the loop has to know."""

import jax
import numpy as np
import pytest
from rich.console import Console

from jaxvision import data
from jaxvision.data.feed.phases import PHASE
from jaxvision.engine import sharding
from jaxvision.engine.feed import Feed
from jaxvision.engine.loop import Interrupted, fit
from jaxvision.errors import UsageError
from jaxvision.ops import augment
from tests.engine.test_loop import Config, build, fingerprints, interrupting, rows

SMALL, LARGE = (
    augment.compose(augment.resize(side), augment.normalise(0.5, 0.25))
    for side in (6, 9)
)
PLAIN = augment.normalise(0.5, 0.25)


def pipeline(transform):
    source = data.load("synthetic:8x8x3:4").train
    return data.train(source, 16, transform=transform, seed=0)


def test_phases_begin_where_they_say_and_may_hold_others():
    turns = data.in_turn([SMALL, LARGE], every=2)
    chosen = data.phases((0, turns), (6, PLAIN), (9, LARGE))
    found = [chosen.which(number) for number in range(11)]
    assert found[6:] == [2, 2, 2, 3, 3] and set(found[:6]) <= {0, 1}
    assert [turns.which(n) for n in range(0, 400, 2)] == [
        turns.which(n) for n in range(1, 400, 2)
    ]
    drawn = [turns.which(n) for n in range(0, 400, 2)]
    assert 60 < sum(drawn) < 140
    for wrong in (((1, PLAIN),), ((0, PLAIN), (4, SMALL), (4, LARGE)), ()):
        with pytest.raises(UsageError, match="must begin with the batch 0 and then"):
            data.phases(*wrong)


def test_a_batch_has_what_all_transforms_make():
    def forgetful(key, batch):
        return {"image": PLAIN(key, batch)["image"]}

    train = pipeline(data.phases((0, PLAIN), (2, forgetful)))
    items = train.items()
    for number in range(3):
        item = next(items)
        assert item[PHASE].shape == (16, number // 2)
        batch = jax.eval_shape(train.fetch, train.resident(), item, jax.random.key(0))
        assert batch.keys() == {"image"}


class Numbered:
    """Items that are as long as `lengths` says."""

    def __init__(self, lengths):
        self.lengths, self.number = lengths, 0

    def __next__(self):
        self.number += 1
        return {"x": np.full(self.lengths[self.number - 1], self.number - 1)}

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


def test_a_dispatch_ends_where_items_change_their_shape():
    lengths = [1, 1, 1, 2, 2, 1, 1, 1, 1]
    feed = Feed(Numbered(lengths), {1, 5})
    found = []
    for _ in range(3):
        items, numbers = feed.take(3)
        assert [row[0] for row in items["x"].tolist()] == numbers
        found.append(numbers)
        # Whoever continues from here goes on with the same.
        again = Feed(Numbered(lengths), set())
        again.set_state(feed.get_state())
        feed = again
    assert found == [[0, 2], [3, 4], [6, 7, 8]]


def test_training_at_several_sizes_has_a_handful_of_programs():
    """Each shape of the items is one: steps of a dispatch, and which transform."""
    sides = (5, 6, 7, 9, 10)
    sizes = [augment.compose(augment.resize(side), PLAIN) for side in sides]
    chosen = data.phases((0, data.in_turn(sizes)), (150, data.in_turn(sizes)))
    train = pipeline(chosen)
    feed, programs, steps = Feed(train.items(), set()), {}, 0
    while steps < 200:
        items, numbers = feed.take(10)
        steps += len(numbers)
        shapes = tuple(sorted((name, x.shape) for name, x in items.items()))
        programs[shapes] = jax.tree.map(lambda x: x[0], items)
    drawn = {chosen.which(number) for number in range(200)}
    assert len(programs) == len(drawn) <= 2 * len(sides)
    images = {
        jax.eval_shape(train.fetch, train.resident(), item, jax.random.key(0))[
            "image"
        ].shape[1]
        for item in programs.values()
    }
    assert images == set(sides)


def phased():
    experiment = build(Config(steps_per_dispatch=3))
    chosen = data.phases((0, data.in_turn([SMALL, LARGE], every=2)), (10, LARGE))
    train = experiment.train
    source = data.load("synthetic:8x8x3:4").train
    return experiment._replace(
        train=data.train(source, train.batch_size, transform=chosen, seed=0),
        steps=14,
        eval_every=7,
        log_every=7,
    )


def train(workdir, experiment):
    workdir.mkdir(exist_ok=True)
    return fit(
        experiment, workdir, mesh=sharding.make_mesh(1), console=Console(quiet=True)
    )


@pytest.mark.slow
def test_a_run_of_several_shapes_is_resumed_bit_for_bit(tmp_path):
    quiet = train(tmp_path / "quiet", phased())
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", interrupting(phased(), 8))
    broken = train(tmp_path / "broken", phased())
    assert fingerprints(broken) == fingerprints(quiet)
    assert [row["train/loss"] for row in rows(tmp_path / "broken")] == [
        row["train/loss"] for row in rows(tmp_path / "quiet")
    ]
