"""What a record says of its origin."""

import os
import subprocess
from dataclasses import dataclass

import pytest

from jaxvision import runs
from jaxvision.measures import Measure
from jaxvision.runs import record
from tests import tiny


@dataclass(frozen=True)
class Nothing:
    """The config of what cannot be chosen."""


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


@pytest.fixture
def checkout(tmp_path):
    """A repository with one file, and an environment that it ignores."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".venv\n")
    (tmp_path / "a.py").write_text("1")
    (tmp_path / ".venv" / "jaxvision").mkdir(parents=True)
    (tmp_path / ".venv" / "jaxvision" / "b.py").write_text("2")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_the_state_of_git_is_looked_at_without_a_lock(checkout, monkeypatch):
    """`git status` would refresh the index, and stand in the way of the user's own."""
    os.utime(checkout / "a.py", (1, 1))  # the same content, at another time
    index = checkout / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.chdir(checkout)
    found = record.provenance("experiments.a", [])
    assert found["git_dirty"] is False and len(found["git_commit"]) == 40
    assert index.read_bytes() == before


def test_the_commit_is_that_of_the_code_and_not_of_the_current_folder(
    checkout, tmp_path_factory, monkeypatch
):
    (checkout / "a.py").write_text("2")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    found = record.provenance("a.py", ["--seed", "1 2"], checkout)
    assert found["git_dirty"] is True and len(found["git_commit"]) == 40
    assert found["command"] == "python a.py --seed '1 2'"
    # Nor is it that of a folder around an environment, or around nothing.
    monkeypatch.chdir(checkout)
    for folder in (checkout / ".venv" / "jaxvision", tmp_path_factory.mktemp("none")):
        found = record.provenance("jaxvision.experiments.b", [], folder)
        assert found["git_commit"] is None and found["git_dirty"] is None
    assert found["command"] == "python -m jaxvision.experiments.b"


def test_a_checkout_of_jaxvision_is_recorded_beside_that_of_the_code(
    checkout, tmp_path_factory, monkeypatch
):
    package = tmp_path_factory.mktemp("clone") / "jaxvision"
    package.mkdir()
    (package / "__init__.py").touch()
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "two")
    monkeypatch.setattr("jaxvision.__file__", str(package / "__init__.py"))
    found = record.provenance("a", [], checkout)
    assert len({found["git_commit"], found["jaxvision_git_commit"]}) == 2
    assert found["jaxvision_git_dirty"] is False
    assert "jaxvision_git_commit" not in record.provenance("a", [], package)


def test_usable_cores_are_counted(monkeypatch):
    for cores, words in (({0, 5}, "2 cores of "), ({3}, "1 core of ")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, c=cores: c, False)
        assert record.hardware("cpu", 1).startswith(words)
    assert record.hardware("TPU v5e", 8) == "8 × TPU v5e"


@pytest.mark.parametrize("kind", ["run", "study"])
def test_the_commit_is_that_of_the_code_that_began(kind, tmp_path, monkeypatch):
    """Somebody may commit while a run trains, of code that it does not have."""
    now = {"git_commit": "before", "git_dirty": False, "command": "python"}
    monkeypatch.setattr(record, "provenance", lambda *arguments: dict(now))

    def commit():
        now["git_commit"] = "after"

    def build(config):
        commit()
        return tiny.build(config)

    def examine(config):
        commit()
        measures = (Measure("size", "", "higher", 1),)
        return runs.Study("nothing", measures, {"size": 1.0}, {})

    workdir = ["--workdir", str(tmp_path / "run")]
    if kind == "run":
        found = runs.run(build, tiny.Config, smoke={}, arguments=workdir)
    else:
        found = runs.study(examine, Nothing, smoke={}, arguments=workdir)
    assert found["git_commit"] == "before" and now["git_commit"] == "after"
