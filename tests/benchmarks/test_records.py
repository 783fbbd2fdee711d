"""Records of benchmarks: what counts as a regression, and what a missing one says."""

import json

import pytest

from benchmarks import records
from jaxvision.errors import UsageError


def test_a_ratio_that_falls_to_a_third_is_a_regression(tmp_path, capsys):
    committed = tmp_path / "record.json"
    records.write({"a_ratio": 3.0, "b_ratio": 3.0, "c_ms": 9.0}, committed)
    fine = {"a_ratio": 1.1, "b_ratio": 8.0, "c_ms": 1.0}
    assert records.regressions(fine, committed) == 0
    assert records.regressions({"a_ratio": 0.9, "new_ratio": 0.1}, committed) == 1
    assert "a_ratio is 0.90 and was 3.00" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no record to compare with"):
        records.regressions({}, tmp_path / "none.json")


def test_a_record_says_where_its_numbers_come_from():
    numbers = records.begin("ops")
    assert numbers["command"].startswith("python -m benchmarks.ops")
    assert "cores of" in numbers["hardware"] and numbers["version_jax"]
    assert records.begin("ops", "H100", 2)["hardware"] == "2 × H100"


def test_every_committed_record_can_be_repeated():
    files = sorted(records.COMMITTED.glob("*.json"))
    assert files
    for file in files:
        numbers = json.loads(file.read_text(encoding="utf-8"))
        assert numbers["command"] and numbers["git_commit"], file
