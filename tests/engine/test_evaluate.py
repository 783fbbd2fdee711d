"""The accuracy over a test set is a count divided by a count, however it is cut."""

import jax
import numpy as np
import pytest

from jaxvision import data, models, tasks
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import make_evaluate, predict
from jaxvision.errors import UsageError
from jaxvision.ops.augment import normalise

SPLITS = data.load("synthetic:6x6x1:5")
MODEL = models.create("mlp", num_classes=5)
TASK = tasks.classification(5, top_k=2)


def evaluated(batch_size, devices):
    mesh = sharding.make_mesh(devices)
    pipeline = data.evaluation(SPLITS.test, batch_size, transform=normalise(0.5, 0.25))
    arrays = pipeline.resident()
    resident = sharding.place_resident(mesh, arrays)
    variables = jax.device_put(
        MODEL.init(jax.random.key(0), np.zeros((1, 6, 6, 1), np.float32)),
        sharding.replicated(mesh),
    )
    arguments = (MODEL, TASK, pipeline, resident, mesh)
    metrics = make_evaluate(*arguments)(variables["params"], {})
    return metrics, predict(*arguments, variables["params"], {}), arrays["label"]


@pytest.fixture(scope="module")
def expected():
    metrics, predictions, labels = evaluated(SPLITS.test.size, 1)
    predicted = predictions["probabilities"].argmax(axis=1)
    assert metrics["accuracy"] == (predicted == labels).mean()
    return metrics, predictions


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("batch_size", [7, 64, 100])
def test_counts_are_exact(expected, batch_size, devices):
    metrics, predictions, _ = evaluated(batch_size, devices)
    for name in ("accuracy", "top2_accuracy"):
        assert metrics[name] == expected[0][name], name
    np.testing.assert_array_equal(metrics["confusion"], expected[0]["confusion"])
    assert metrics["confusion"].sum() == SPLITS.test.size
    assert metrics["loss"] == pytest.approx(expected[0]["loss"], rel=1e-5)
    np.testing.assert_allclose(
        predictions["probabilities"], expected[1]["probabilities"], atol=1e-6
    )


def test_devices_and_batches_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"between 1 and 8.*got 9"):
        sharding.make_mesh(9)
    with pytest.raises(UsageError, match=r"between 1 and 8.*got 0"):
        sharding.make_mesh(0)
    with pytest.raises(UsageError, match=r"batch size 100 is not.*use 96 or 104"):
        sharding.check_batch(sharding.make_mesh(8), 100)
    sharding.check_batch(sharding.make_mesh(8), 96)
