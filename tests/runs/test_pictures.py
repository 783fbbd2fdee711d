"""What is drawn before, during and after a run."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.engine import sharding
from jaxvision.engine.step import (
    Constants,
    first_batches,
    make_init,
    make_train_step,
)
from jaxvision.runs import run
from tests import tiny


def build(config):
    names = ("a", "b", "c", "$d$")
    return tiny.build(config)._replace(classes=names, show=visualise.classification)


def drawn(folder):
    return {path.name for path in folder.glob("*.png")}


OF_PREDICTIONS = {"classes.png", "confusion.png", "predictions.png", "reliability.png"}


@pytest.mark.slow
def test_a_run_draws_what_it_learns_from_and_what_it_learned(tmp_path):
    arguments = ["--epochs", "2", "--devices", "1", "--pictures-every", "2"]
    run(
        build, tiny.Config, smoke={}, arguments=[*arguments, "--workdir", str(tmp_path)]
    )
    assert drawn(tmp_path) == OF_PREDICTIONS | {"augmented.png", "curves.png"}
    during = {path.name: drawn(path) for path in (tmp_path / "pictures").iterdir()}
    assert during == {"step-16": OF_PREDICTIONS}
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6 and "tests.tiny" not in page[:200]


def test_pictures_need_something_that_draws(tmp_path, capsys):
    arguments = ["--pictures-every", "1", "--devices", "1", "--workdir", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        run(tiny.build, tiny.Config, smoke={}, arguments=arguments)
    assert stopped.value.code == 2 and "give it a `show`" in capsys.readouterr().err


@pytest.mark.slow
def test_the_first_batch_is_that_of_the_first_step():
    experiment = tiny.build(tiny.Config())
    loss = experiment.task.loss

    def with_pixels(forward, batch, *, key):
        terms, (state, sums) = loss(forward, batch, key=key)
        rows = jnp.arange(batch["image"].size, dtype=jnp.float32)
        return terms, (state, sums | {"pixels": jnp.vdot(rows, batch["image"].ravel())})

    experiment = experiment._replace(task=experiment.task._replace(loss=with_pixels))
    mesh = sharding.make_mesh(1)
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    init = make_init(experiment, mesh, constants)
    step = make_train_step(experiment, mesh, init.shardings, log_every=1)
    items = sharding.stack([next(experiment.train.items())])
    placed = sharding.place_items(mesh, items, experiment.train.batch_size)
    _, report = step(init.make(), constants, placed)
    stored, seen = next(first_batches(experiment, 1))
    assert stored["image"].dtype == np.uint8 and seen["image"].dtype == np.float32
    expected = seen["image"].ravel() @ np.arange(seen["image"].size)
    assert float(report.sums.task["pixels"]) == pytest.approx(expected, rel=1e-3)
