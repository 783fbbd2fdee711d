"""What the names of experiments mean, and how they are run and imported again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxvision
from jaxvision.errors import UsageError
from jaxvision.runs import programs

ROOT = Path(jaxvision.__file__).parents[1]

EXPERIMENT = """
from dataclasses import dataclass
from sibling import answer

@dataclass(frozen=True)
class Config:
    seed: "int" = answer

def build(config):
    return config
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with experiments of one's own."""
    for name in ("my_experiment.py", "scripts/other.py", "package/third.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(EXPERIMENT)
    for name in ("sibling.py", "scripts/sibling.py"):
        (tmp_path / name).write_text("answer = 42")
    (tmp_path / "package/__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("word", "program", "name"),
    [
        ("my_experiment", "my_experiment", "my_experiment"),
        ("my_experiment.py", "my_experiment", "my_experiment"),
        ("scripts/other.py", "scripts/other.py", "other"),
        ("package/third.py", "package.third", "third"),
        ("package.third", "package.third", "third"),
        ("mnist_lenet5", "experiments.mnist_lenet5", "mnist_lenet5"),
        ("experiments.mnist_lenet5", "experiments.mnist_lenet5", "mnist_lenet5"),
        ("jaxvision.experiments.mnist_mlp", "experiments.mnist_mlp", "mnist_mlp"),
    ],
)
def test_experiments_are_called_by_name_module_or_file(folder, word, program, name):
    assert programs.find(word) == program
    assert programs.name_of(program) == name


@pytest.mark.parametrize("folder_of_the_script", [False, True])
def test_what_python_would_not_find_as_a_module_is_a_file(
    folder, monkeypatch, folder_of_the_script
):
    if folder_of_the_script:  # as in `python scripts/other.py`
        monkeypatch.setattr(sys, "path", [str(folder / "scripts"), *sys.path[1:]])
    assert programs.of_file(folder / "scripts/other.py") == "scripts/other.py"
    monkeypatch.chdir(folder / "package")
    monkeypatch.setattr(sys, "path", [str(folder / "package"), *sys.path[2:]])
    assert programs.of_file(Path("../my_experiment.py")) == str(
        folder / "my_experiment.py"
    )


def test_ones_own_goes_before_what_comes_with_jaxvision(folder):
    (folder / "mnist_mlp.py").write_text(EXPERIMENT)
    assert programs.find("mnist_mlp") == "mnist_mlp"
    # A folder of that name is none, and does not hide those of a clone either.
    (folder / "mnist_lenet5").mkdir()
    (folder / "experiments").mkdir()
    assert programs.find("mnist_lenet5") == "experiments.mnist_lenet5"
    (folder / "experiments/__init__.py").touch()
    assert programs.find("mnist_lenet5") == str(ROOT / "experiments/mnist_lenet5.py")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mnist_lenet", "did you mean 'mnist_lenet5'"),
        ("signal_convnet", "unknown experiment 'signal_convnet'"),
        ("a..b", "unknown experiment 'a..b'"),
        ("", "unknown experiment ''"),
        ("gone.py", "there is no file 'gone.py' in"),
        ("package", "'package' is a package: name one of its modules"),
    ],
)
def test_what_is_no_experiment_is_refused(folder, word, message):
    with pytest.raises(UsageError) as caught:
        programs.find(word)
    assert message in str(caught.value)


@pytest.mark.parametrize("program", ["my_experiment", "scripts/other.py"])
def test_the_code_of_a_run_is_found_from_anywhere(folder, monkeypatch, program):
    run = folder / "runs" / "x" / "2026-01-31_12-00-00"
    run.mkdir(parents=True)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    monkeypatch.setattr(sys, "path", sys.path[1:])
    module = programs.load(program, run)
    assert module.build(module.Config()).seed == 42
    with pytest.raises(UsageError, match="gone"):
        programs.load("gone", run)


TELL = "from jaxvision.runs import programs\nprint(programs.of(build))\n"


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["-m", "my_experiment"], "my_experiment"),
        (["my_experiment.py"], "my_experiment"),
        (["scripts/other.py"], "scripts/other.py"),
        (["-m", "package.third"], "package.third"),
    ],
)
def test_a_program_knows_by_which_name_it_is_run_again(folder, command, program):
    for file in folder.rglob("*.py"):
        file.write_text(f"def build(config): ...\n{TELL}")
    told = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.splitlines()[-1] == program
