"""The page of a run, from its record and its pictures."""

import json

import pytest

from jaxvision.commands.main import main
from jaxvision.errors import UsageError
from jaxvision.runs import report
from tests.visualise.test_page import Reader

RECORD = {
    "format": 2,
    "experiment": "mnist_lenet5",
    "dataset": "folder:<b>pets</b>",
    "config_epochs": 3,
    "config_dataset": "folder:<b>pets</b>",
    "numerics_ema": 0.9,
    "test_accuracy": 0.987,
    "test_loss": 0.05,
    "validation_accuracy": 0.97,
    "night_accuracy": None,
    "measures": {
        "accuracy": {"name": "accuracy", "unit": "%", "better": "higher", "decimals": 2}
    },
    "monitor": "accuracy",
    "evaluations": ["validation", "test", "night"],
    "reference_metric": "test_accuracy",
    "reference_value": 0.9905,
    "reference_source": "LeCun et al. 1998, fig. 9",
    "seed": 0,
    "steps": 30,
    "best_step": 20,
    "command": "python -m experiments.mnist_lenet5 --epochs 3",
    "git_commit": "0123abc",
}


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(RECORD))
    for name in ("confusion", "curves"):
        (tmp_path / f"{name}.png").write_bytes(f"\x89PNG {name}".encode("latin-1"))
    return tmp_path


def test_a_page_has_results_pictures_config_and_origin(run_dir):
    found = Reader(report.write(run_dir))
    words = " ".join(found.text)
    for expected in (
        "mnist_lenet5 on folder:<b>pets</b>",
        "test accuracy 98.70 %, published 99.05 % (LeCun et al. 1998, fig. 9)",
        "step 20 of 30",
        "97.00 %",
        "0.0500",
        "python -m experiments.mnist_lenet5 --epochs 3",
        "0123abc",
    ):
        assert expected in words
    assert "b" not in found.tags
    alts = [value for name, value in found.attributes if name == "alt"]
    assert alts == ["curves", "confusion"]
    cells = [text.strip() for text in found.text]
    assert cells.index("epochs") + 1 == cells.index("3")


def test_nothing_is_fetched_from_elsewhere(run_dir):
    text = report.write(run_dir).read_text()
    assert "http" not in text and 'src="data:' in text


def test_a_page_says_that_a_run_was_continued(run_dir):
    shorter = {"epochs": 2.0, "steps": 20, "test_accuracy": 0.9}
    record = RECORD | {"continued_from": [shorter]}
    (run_dir / "result.json").write_text(json.dumps(record))
    words = " ".join(Reader(report.write(run_dir)).text)
    assert "was finished before after 2 epochs, with 90.00 %" in words


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "result.json is missing"), ('{"seed": 1}', "lacks best_step, evaluations")],
)
def test_a_run_without_a_record_is_refused(tmp_path, content, message):
    if content:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        report.write(tmp_path)


def test_the_command_writes_it_again(run_dir, capsys):
    main(["report", str(run_dir)])
    assert "report.html: written" in capsys.readouterr().out
    assert (run_dir / "report.html").exists()
