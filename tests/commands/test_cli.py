import ast
import importlib
import json
import os
import subprocess
import sys

import pytest

import jaxvision
from jaxvision.commands import main as cli
from jaxvision.errors import UsageError


def run(capsys, *arguments):
    """Exit code, output and error output of a command, in this process."""
    code = 0
    try:
        cli.main(arguments)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


RECORD = {
    "format": 2,
    "monitor": "accuracy",
    "measures": {"accuracy": {"name": "accuracy", "unit": "%", "decimals": 2}},
    "experiment": "mnist_mlp",
    "dataset": "mnist",
    "seed": 0,
    "parameters": 266610,
    "test_accuracy": 0.98,
    "wall_seconds": 30.0,
    "hardware": "2 × Xeon",
    "command": "python -m experiments.mnist_mlp --workdir runs/x",
    "git_dirty": True,
    "git_commit": "abc",
    "smoke": False,
    "finished_at": "2025-01-01T00:00:00+00:00",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty repository with one finished run, as the current folder."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text(json.dumps(RECORD))
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "results.md"
    page.write_text("<!-- results -->\n<!-- /results -->\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_is_quick_and_names_every_command():
    code = (
        "import sys; from jaxvision.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'jax', 'flax', 'matplotlib', 'tensorflow_datasets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert all(command in out for command in cli.COMMANDS)


def test_the_module_runs_and_ends_with_the_code():
    ended = subprocess.run(
        [sys.executable, "-m", "jaxvision", "modles"], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == "error: unknown command 'modles': did you mean 'models'?\n"
    assert ended.stdout == ""


def test_no_command_shows_the_help(capsys):
    code, out, _ = run(capsys)
    assert code == 0 and "doctor" in out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["table", "--chek"], "--check"), (["publish"], "RUN-DIR")],
)
def test_wrong_options_end_with_code_2_and_a_hint(capsys, arguments, hint):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and hint in out + err


def test_publish_then_table(capsys, checkout):
    code, out, err = run(capsys, "publish", "run", "--tag", "first")
    assert code == 0
    assert "mnist_mlp-mnist-first-seed0.json: published" in out
    assert err.startswith("warning: ") and "commit abc" in err

    code, out, _ = run(capsys, "table", "--check")
    assert code == 1 and "out of step" in out
    assert run(capsys, "table")[0] == 0
    assert (
        "| mnist_mlp (first) | mnist | 266,610 |"
        in (checkout / "docs" / "results.md").read_text()
    )
    assert run(capsys, "table", "--check")[0] == 0


def test_usage_errors_are_one_message_without_traceback(capsys, checkout):
    code, out, err = run(capsys, "publish", "nowhere")
    assert (code, out) == (2, "")
    assert err.startswith("error: nowhere holds no finished run")
    (checkout / "docs" / "results.md").unlink()
    (checkout / "experiments" / "results").mkdir()
    assert run(capsys, "table")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("table", "--page", "experiments"),
        ("publish", "run", "--records", "docs/results.md"),
        ("sweep", "experiments.none", "--workdir", "docs/results.md"),
        ("datasets", "synthetic", "--output", "docs/results.md/card"),
    ],
)
def test_a_path_of_the_wrong_kind_is_named(capsys, checkout, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("error: ") and ("results.md" in err or "experiments" in err)


def test_a_package_is_no_experiment(capsys):
    code, _, err = run(capsys, "doctor", "json")
    assert code == 2 and "'json' is a package: name one of its modules" in err


def test_words_that_cannot_be_told_apart(capsys):
    code, _, err = run(
        capsys, "quality", "--dataset", "synthetic", "--options", '"--epochs 2'
    )
    assert code == 2 and "cannot be split into words" in err


def test_prepare_hands_over_to_the_registry(capsys, monkeypatch):
    from jaxvision.data import registry

    def prepare(name, data_dir=None):
        if name != "mnist":
            raise UsageError(f"no set {name}")
        return f"{data_dir}/{name}"

    monkeypatch.setattr(registry, "prepare", prepare)
    code, out, _ = run(capsys, "prepare", "mnist", "--data-dir", "sets")
    assert (code, out) == (0, "mnist is ready in sets/mnist\n")
    assert run(capsys, "prepare", "minst") == (2, "", "error: no set minst\n")


def test_models_lists_every_model_with_its_parameters(capsys):
    from jaxvision import models

    code, out, _ = run(capsys, "models")
    listed = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert code == 0
    assert list(listed) == models.names()
    assert listed["mlp"][0] == "266,610"
    # Multiply-adds, activations, input, receptive field, weights, paper.
    assert listed["resnet18"][1:9] == [
        "1.81", "G", "2.5", "M", "224×224×3", "435", "torchvision*", "He"
    ]  # fmt: skip


def test_models_of_a_pattern_and_the_layers_of_one(capsys):
    code, out, _ = run(capsys, "models", "lenet5*")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        "lenet5",
        "lenet5_relu",
    ]
    code, out, _ = run(capsys, "models", "lenet5")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[1] == ["c1", "Conv", "5×5", "28×28×6", "156", "117,600", "5", "1", "0"]
    assert rows[2][-3:] == ["14", "2", "0"]  # behind pooling of 2×2: 6 + 4·2
    assert rows[-2] == ["total", "61,706", "416,520"]
    assert " ".join(rows[-1]).startswith("maps of one image in float32: 0.0 MB")
    code, _, err = run(capsys, "models", "resnet5O")
    assert code == cli.EXIT_USAGE
    assert "did you mean" in err and "'resnet50'" in err


def test_what_a_model_sees_is_drawn(capsys, tmp_path):
    picture = tmp_path / "fields.png"
    code, out, err = run(capsys, "models", "lenet5", "--fields", str(picture))
    assert code == 0, err
    assert "4 maps of lenet5" in out
    assert picture.read_bytes()[1:4] == b"PNG"
    code, _, err = run(capsys, "models", "--fields", str(picture))
    assert code == cli.EXIT_USAGE and "whole name" in err
    code, _, err = run(capsys, "models", "mlp", "--fields", str(picture))
    assert code == cli.EXIT_USAGE and "no maps" in err
    nowhere = tmp_path / "none" / "fields.png"
    code, _, err = run(capsys, "models", "lenet5", "--fields", str(nowhere))
    assert code == cli.EXIT_USAGE and "does not exist" in err


def test_doctor_tells_of_folders_and_sets(capsys, monkeypatch, tmp_path):
    for folder in ("mnist/3.0.1", "eurosat/rgb/2.0.0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").touch()
    (tmp_path / "half_done" / "1.0.0").mkdir(parents=True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "a" / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "eurosat/rgb:2.0.0, mnist:3.0.1\n" in out.replace(" \n", "\n").replace(
        "  ", ""
    )
    assert "half_done" not in out
    assert os.path.join("a", "cache") + " (not there yet)" in out
    assert "jax 0." in out and "cpu" in out


@pytest.fixture
def become(monkeypatch):
    """The command lines that this process would go on as."""
    lines = []
    monkeypatch.setattr("os.execv", lambda file, line: lines.append(line[1:]))
    return lines


def test_run_and_doctor_are_python_with_the_program(capsys, checkout, become):
    (checkout / "my_experiment.py").touch()
    run(capsys, "run", "my_experiment.py", "--seed", "1", "--", "--help")
    run(capsys, "doctor", "mnist_lenet5", "--seed", "1")
    assert become == [
        ["-m", "my_experiment", "--seed", "1", "--", "--help"],
        ["-m", "experiments.mnist_lenet5", "--seed", "1", "--dry-run"],
    ]


def test_run_alone_lists_what_comes_with_jaxvision(capsys, checkout, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(capsys, "run")
    listed = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0
    assert listed["mnist_lenet5"].startswith("LeNet-5 on MNIST.")
    assert "cifar10_resnet20" in listed and "signal_convnet" not in listed


@pytest.mark.parametrize("original", ["mnist_lenet5", "series_gramian"])
def test_new_writes_an_experiment_that_is_ones_own(
    capsys, checkout, monkeypatch, original
):
    code, out, _ = run(capsys, "new", "my_experiment", "--from", original)
    assert code == 0 and "python -m my_experiment --smoke" in out
    text = (checkout / "my_experiment.py").read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert f"copy of {original} of jaxvision {jaxvision.__version__}." in docstring
    assert "    python -m my_experiment\n" in docstring
    assert "python -m experiments" not in text and "Measured" not in docstring
    monkeypatch.syspath_prepend(str(checkout))
    assert importlib.import_module("my_experiment").Config().seed == 0
    del sys.modules["my_experiment"]

    (checkout / "my_experiment.py").write_text("mine")
    code, _, err = run(capsys, "new", "my_experiment.py", "--from", original)
    assert code == 2 and "my_experiment.py exists, and nothing is overwritten" in err
    assert (checkout / "my_experiment.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "original", "words"),
    [
        ("json", "mnist_lenet5", "json is the name of a module already"),
        ("my-experiment", "mnist_lenet5", "cannot be called 'my-experiment'"),
        ("sub/mine", "mnist_lenet5", "cannot be called 'sub/mine'"),
        ("class", "mnist_lenet5", "cannot be called 'class'"),
        ("mine", "lenet5", "did you mean 'mnist_lenet5'"),
    ],
)
def test_what_new_cannot_write(capsys, checkout, name, original, words):
    code, _, err = run(capsys, "new", name, "--from", original)
    assert code == 2 and words in err
    assert not list(checkout.rglob("*.py"))


@pytest.mark.parametrize(
    "command", ["doctor", "run", "launch --processes 2 -m", "sweep"]
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist_lenet", "did you mean 'mnist_lenet5'"),
        ("my_experiment.py", "there is no file 'my_experiment.py' in"),
    ],
)
def test_experiments_that_are_not_there(capsys, checkout, command, name, words):
    code, _, err = run(capsys, *command.split(), name)
    assert code == 2
    assert words in err and str(checkout) in err


@pytest.mark.parametrize("command", ["datasets", "augment", "quality"])
def test_an_empty_argument_is_not_the_current_folder(capsys, checkout, command):
    code, _, err = run(capsys, command, "mnist_5k", "--output", "")
    assert code == 2 and "is empty" in err
    assert not (checkout / "card.json").exists()
