"""`--track`: what the services are told, by stand-ins for their packages."""

import json
import os
import sys
import types

import pytest

from jaxvision.engine.history import read_rows
from jaxvision.errors import UsageError
from jaxvision.runs import run, tracking
from tests import tiny


class Told:
    """What a service was told: rows in order, the config, results and endings."""

    def __init__(self):
        self.ids, self.configs, self.rows = [], [], []
        self.results, self.endings = [], []


@pytest.fixture
def wandb(monkeypatch):
    told = Told()

    class Run:
        def __init__(self, **options):
            told.ids.append(options["id"])
            told.configs.append(options["config"])
            assert options["resume"] == "allow"
            assert os.environ["WANDB_MODE"] == "offline"
            self.summary = types.SimpleNamespace(update=told.results.append)
            self.log = told.rows.append

        def define_metric(self, name, step_metric):
            assert (name, step_metric) == ("*", "step")

        def finish(self, exit_code):
            told.endings.append(exit_code)

    module = types.ModuleType("wandb")
    module.init = lambda **options: Run(**options)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_MODE", "")  # so that it is put back
    monkeypatch.delenv("WANDB_MODE")
    return told


@pytest.fixture
def mlflow(monkeypatch):
    told = Told()

    class Client:
        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return f"{name}'s"

        def create_run(self, experiment, run_name):
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

        def log_batch(self, number, metrics=(), params=()):
            if params:
                told.ids.append(number)
                told.configs.append({each.key: each.value for each in params})
            if metrics:
                told.rows.append({each.key: each.value for each in metrics})
                assert {each.step for each in metrics} == {metrics[0].value}

        def log_dict(self, number, content, name):
            told.results.append(content)

        def update_run(self, number, status):
            told.endings.append(status)

        set_terminated = update_run

    def entity(*names):
        return lambda *values: types.SimpleNamespace(
            **dict(zip(names, values, strict=True))
        )

    entities = types.ModuleType("mlflow.entities")
    entities.Metric = entity("key", "value", "timestamp", "step")
    entities.Param = entity("key", "value")
    client = types.ModuleType("mlflow.tracking")
    client.MlflowClient = Client
    for module in (types.ModuleType("mlflow"), entities, client):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return told


def train(*arguments):
    return run(
        tiny.build,
        tiny.Config,
        smoke={},
        arguments=["--devices", "1", "--epochs", "2", *map(str, arguments)],
    )


@pytest.mark.slow
@pytest.mark.parametrize("service", ["wandb", "mlflow"])
def test_a_service_is_told_what_the_run_directory_holds(service, request, tmp_path):
    told = request.getfixturevalue(service)
    result = train("--track", service, "--workdir", tmp_path / "run")
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    for row, line in zip(rows, told.rows, strict=service == "wandb"):
        assert line["step"] == row["step"] and line["train/loss"] == row["train/loss"]
    assert str(told.configs[0]["config_epochs"]) == "2"
    assert told.results[0]["test_accuracy"] == result["test_accuracy"]
    assert told.endings == [0 if service == "wandb" else "FINISHED"]


@pytest.mark.parametrize("service", ["wandb", "mlflow"])
def test_a_run_that_is_continued_continues_the_tracked_one(service, request, tmp_path):
    told = request.getfixturevalue(service)
    from rich.console import Console

    def track(error=None):
        arguments = (service, tmp_path, "name", {"seed": 0}, Console(quiet=True))
        with tracking.tracked(*arguments) as tracker:
            tracker.log({"step": 4, "loss": 1.0, "list": [1, 2], "none": None})
            if error:
                raise error

    with pytest.raises(KeyboardInterrupt):
        track(KeyboardInterrupt())
    track()
    assert len(set(told.ids)) == 1
    assert told.rows == [{"step": 4, "loss": 1.0}] * 2
    endings = {"wandb": [130, 0], "mlflow": ["KILLED", "RUNNING", "FINISHED"]}
    assert told.endings == endings[service]
    assert set(json.loads((tmp_path / "tracking.json").read_text())) == {service}


def test_a_service_that_fails_costs_a_run_nothing(wandb, tmp_path, capsys, monkeypatch):
    def fail(**options):
        raise ConnectionError("the network [is] down")

    monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    result = train("--track", "wandb", "--workdir", tmp_path / "run")
    assert "test_accuracy" in result
    words = "wandb tracks no longer: the network [is] down"
    assert capsys.readouterr().out.count(words) == 1


@pytest.mark.parametrize("service", ["wandb", "mlflow"])
def test_a_missing_package_is_named_before_any_work(
    service, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, service, None)
    with pytest.raises(UsageError, match="needs the package"):
        tracking.check_installed(service)
    with pytest.raises(SystemExit) as end:
        train("--track", service, "--workdir", tmp_path / "run")
    assert end.value.code == 2
    assert f"'jaxvision-research[{service}]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
