"""Evaluation: exact however it is cut, in one pass and in bounded memory."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import data, models, tasks
from jaxvision.engine import gallery, rows, sharding
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.rows import Rows
from jaxvision.engine.state import TrainState
from jaxvision.errors import UsageError
from jaxvision.ops.augment import normalise
from jaxvision.types import Measure, Task

SPLITS = data.load("synthetic:6x6x1:5")
MODEL = models.create("mlp", num_classes=5)
TASK = tasks.classification(5, top_k=2)


def state_of(mesh, average=None):
    variables = jax.device_put(
        MODEL.init(jax.random.key(0), np.zeros((1, 6, 6, 1), np.float32)),
        sharding.replicated(mesh),
    )
    return TrainState(jnp.int32(7), variables["params"], {}, None, None, None, average)


def evaluated(batch_size, devices, task=TASK, average=None, *, with_galleries=False):
    mesh = sharding.make_mesh(devices)
    pipeline = data.evaluation(SPLITS.test, batch_size, transform=normalise(0.5, 0.25))
    evaluator = Evaluator(MODEL, task, pipeline, mesh, frozen={}, seed=0)
    return evaluator(state_of(mesh, average), with_galleries=with_galleries)


def keeping_everything():
    """Also keeps what is predicted, and a random number of each example, as rows."""
    kept = {}

    def update(forward, batch, *, keys):
        sums, _ = TASK.update(forward, batch, keys=keys)
        predictions = TASK.predict(forward, batch, keys=keys)
        drawn = jax.vmap(jax.random.uniform)(keys)
        return sums, predictions | {"label": batch["label"], "drawn": drawn}

    def compute(sums, rows):
        kept.update({name: np.array(array) for name, array in rows.items()})
        return TASK.compute(sums, rows)

    return TASK._replace(update=update, compute=compute), kept


@pytest.fixture(scope="module")
def expected():
    task, kept = keeping_everything()
    found = evaluated(SPLITS.test.size, 1, task, with_galleries=True)
    predicted = kept["probabilities"].argmax(axis=1)
    assert found.metrics["accuracy"] == (predicted == kept["label"]).mean()
    labels = SPLITS.test.read()["label"]
    np.testing.assert_array_equal(kept["label"], labels)
    return found, kept


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("batch_size", [7, 64, 100])
def test_what_is_found_depends_on_the_examples_alone(expected, batch_size, devices):
    task, kept = keeping_everything()
    found = evaluated(batch_size, devices, task, with_galleries=True)
    metrics, before = found.metrics, expected[0].metrics
    for name in ("accuracy", "top2_accuracy"):
        assert metrics[name] == before[name], name
    np.testing.assert_array_equal(metrics["confusion"], before["confusion"])
    assert metrics["confusion"].sum() == SPLITS.test.size
    assert metrics["loss"] == pytest.approx(before["loss"], rel=1e-5)

    np.testing.assert_array_equal(kept["label"], expected[1]["label"])
    np.testing.assert_array_equal(kept["drawn"], expected[1]["drawn"])
    assert len(np.unique(kept["drawn"])) > 0.99 * SPLITS.test.size
    np.testing.assert_allclose(
        kept["probabilities"], expected[1]["probabilities"], atol=1e-6
    )
    for one, other in zip(found.galleries, expected[0].galleries, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.example["image"], other.example["image"])
        np.testing.assert_allclose(one.difficulty, other.difficulty, atol=1e-5)


def test_the_gallery_holds_the_worst_and_a_sample(expected):
    found, kept = expected
    worst, sample = found.galleries
    confidence = kept["probabilities"].max(axis=1)
    right = kept["probabilities"].argmax(axis=1) == kept["label"]
    difficulty = np.where(right, 1 - confidence, 1 + confidence)
    order = np.argsort(-difficulty, kind="stable")[: gallery.WORST]
    np.testing.assert_array_equal(worst.indices, order)
    images = SPLITS.test.read()["image"]
    for shown in (worst, sample):
        np.testing.assert_array_equal(shown.example["image"], images[shown.indices])
        np.testing.assert_allclose(
            shown.input["image"], (images[shown.indices] / 255 - 0.5) / 0.25, atol=1e-5
        )
        np.testing.assert_allclose(
            shown.prediction["probabilities"], kept["probabilities"][shown.indices]
        )
    assert len(sample.indices) == gallery.SAMPLE
    assert np.diff(sample.indices).min() >= SPLITS.test.size // gallery.SAMPLE - 1


def test_a_task_without_difficulty_shows_a_sample_only():
    found = evaluated(64, 1, TASK._replace(difficulty=None), with_galleries=True)
    assert len(found.galleries.worst.indices) == 0
    assert len(found.galleries.sample.indices) == gallery.SAMPLE


def test_what_is_no_number_is_the_worst():
    state = gallery.start({"x": jax.ShapeDtypeStruct((4,), jnp.int32)}, 9, ranked=True)
    for start in (0, 4, 8):
        index = jnp.arange(start, start + 4, dtype=jnp.int32)
        difficulty = jnp.where(index == 5, jnp.nan, index / 10)
        state = gallery.add(state, {"x": 10 * index}, difficulty, index, index < 9)
    worst = gallery.finish(jax.tree.map(np.asarray, _named(state))).worst
    assert worst.indices.tolist() == [5, 8, 7, 6, 4, 3, 2, 1, 0]
    assert worst.example.tolist() == [50, 80, 70, 60, 40, 30, 20, 10, 0]


def _named(state):
    """`entries` under the names that a gallery has."""
    return {
        part: found
        | {
            "entries": dict.fromkeys(
                ("example", "input", "prediction"), found["entries"]["x"]
            )
        }
        for part, found in state.items()
    }


def test_the_average_is_measured_in_the_same_pass():
    mesh = sharding.make_mesh(1)
    own = state_of(mesh).params
    other = jax.tree.map(lambda x: x + 0.1, own)
    read = []
    pipeline = data.evaluation(SPLITS.test, 64, transform=normalise(0.5, 0.25))

    def items(*rows):
        read.append(1)
        return pipeline.items(*rows)

    evaluator = Evaluator(
        MODEL, TASK, pipeline._replace(items=items), mesh, frozen={}, seed=0
    )
    average = {"params": other, "model_state": {}}
    metrics = evaluator(state_of(mesh, average)).metrics
    assert read == [1]
    alone = evaluator(state_of(mesh)._replace(params=other)).metrics
    assert metrics["average/loss"] == alone["loss"] != metrics["loss"]


def test_rows_are_the_same_from_memory_and_from_the_disk(monkeypatch):
    parts = [
        {
            "a": np.arange(6, dtype=np.int32).reshape(2, 3) + 6 * i,
            "b": np.full(2, i / 2, np.float16),
        }
        for i in range(50)
    ]
    found = []
    for limit in (rows.MEMORY_LIMIT, 100):
        with Rows(limit) as collected:
            for part in parts:
                collected.add(part)
            result = collected.finish()
            assert isinstance(result["a"], np.memmap) == (limit == 100)
            found.append({name: np.array(array) for name, array in result.items()})
    for name, array in found[0].items():
        assert array.dtype == found[1][name].dtype
        np.testing.assert_array_equal(array, found[1][name])
    assert found[0]["a"].shape == (100, 3) and found[0]["a"][-1, -1] == 299


def test_counts_beyond_32_bits_are_exact():
    def update(forward, batch, *, keys):
        return {"count": jnp.int32(2**31 - 1)}, {}

    task = Task(
        loss=TASK.loss,
        update=update,
        compute=lambda sums, rows: {"count": int(sums["count"])},
        measures=(Measure("count"),),
        predict=TASK.predict,
    )
    batches = -(-SPLITS.test.size // 64)
    assert evaluated(64, 1, task).metrics["count"] == batches * (2**31 - 1)


MEMORY = """
import resource, sys
import jax, numpy as np
from jaxvision import data, models, tasks
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.state import TrainState
from jaxvision.ops.augment import normalise

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

mesh, model = sharding.make_mesh(1), models.create("perceptron", num_classes=11)
variables = model.init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
state = TrainState(np.int32(0), variables["params"], {}, None, None, None)
task = tasks.multilabel(11)
peaks = []
for size in (500, 5000):
    test = data.load(f"scenes:64x64x3:16:{size}").test
    presence = {"presence": test.targets()["presence"]}
    test = test._replace(targets=lambda: presence, maps=None)
    pipeline = data.evaluation(
        test, 50, transform=normalise(0.5, 0.25), storage="stream", prefetch=2
    )
    evaluator = Evaluator(model, task, pipeline, mesh, frozen={}, seed=0)
    found = evaluator(state, with_galleries=True)
    assert len(found.galleries.worst.indices) == 48
    peaks.append(peak())
print(peaks[1] - peaks[0])
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_set():
    """4,500 images more, of 12 kB each, and their predictions."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 20, done.stdout  # megabytes; the images are 55


def test_devices_and_batches_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"between 1 and 8.*got 9"):
        sharding.make_mesh(9)
    with pytest.raises(UsageError, match=r"between 1 and 8.*got 0"):
        sharding.make_mesh(0)
    with pytest.raises(UsageError, match=r"batch size 100 is not.*use 96 or 104"):
        sharding.check_batch(sharding.make_mesh(8), 100)
    sharding.check_batch(sharding.make_mesh(8), 96)
