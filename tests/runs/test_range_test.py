"""`--find-lr`: what it suggests, where it ends, and what it leaves behind."""

import json
import math

import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.runs import range_test, run
from tests import tiny

RATES = np.geomspace(1e-7, 10, 200).tolist()


def curve(rate, steepest=1e-2, diverges=1.0):
    """Falls fastest at one rate, and explodes from another on."""
    fall = 2.3 / (1 + (rate / steepest) ** 2)
    return 0.1 + fall + (math.exp(min(rate / diverges * 4, 100)) - 1) * (rate > 0.3)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_suggestion_is_where_the_loss_falls_fastest(noise):
    random = np.random.default_rng(0)
    losses = [curve(rate) + noise * random.normal() for rate in RATES]
    assert 1e-2 / 3 < range_test.judge(RATES, iter(losses)).suggestion < 1e-2 * 3


def test_a_loss_of_four_times_its_best_ends_the_test():
    found = range_test.judge(RATES, map(curve, RATES))
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < len(RATES)
    best = min(found.smoothed)
    assert found.smoothed[-1] > 4 * best > found.smoothed[-2]


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_test(end):
    losses = [3.0 - 0.01 * i for i in range(60)]
    found = range_test.judge(RATES, iter([*losses, end, 5.0]))
    assert found.losses == losses and found.suggestion in RATES[:60]
    with pytest.raises(UsageError, match="lowest learning rate already"):
        range_test.judge(RATES, iter([end]))


def test_a_loss_that_never_falls_suggests_nothing():
    rising = (1 + 0.01 * i for i in range(200))
    assert range_test.judge(RATES, rising).suggestion is None


def find(workdir, *arguments, build=tiny.build):
    with pytest.raises(SystemExit) as end:
        run(
            build,
            tiny.Config,
            smoke={},
            arguments=["--find-lr", "--workdir", str(workdir), *arguments],
        )
    return end.value.code


@pytest.mark.slow
def test_a_range_test_leaves_a_picture_and_numbers_and_nothing_else(tmp_path, capsys):
    assert find(tmp_path / "run", "--model", "mlp") == 0
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"learning_rates.png", "learning_rates.json"}
    found = json.loads((tmp_path / "run" / "learning_rates.json").read_text())
    assert f"learning rate {found['suggestion']:.2g}" in capsys.readouterr().out
    assert found["losses"][0] == pytest.approx(math.log(4), abs=1.0)
    assert 1e-4 < found["suggestion"] < 3
    # At the lowest rates nothing is learned: it is the rate that moves the loss.
    first = np.mean(found["losses"][:50])
    assert first > 1.5 * min(found["smoothed"])


def test_an_optimiser_without_another_schedule_is_refused(tmp_path, capsys):
    def build(config):
        experiment = tiny.build(config)
        optimizer = experiment.optimizer._replace(rescheduled=None)
        return experiment._replace(optimizer=optimizer)

    assert find(tmp_path / "run", build=build) == 2
    assert "has no other schedule: make it with jaxvision.optim" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
