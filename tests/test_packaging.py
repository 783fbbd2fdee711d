"""The environment is found, the pins are whole, and packages import as they may."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")

# --- tools/find_python.sh, on machines made of fake interpreters ----------------------

SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def interpreter(path: Path, version: str, *, lacks: str = "") -> Path:
    """A real Python that takes itself for another version at another path."""
    pretence = f"import sys; sys.version_info = {tuple(map(int, version.split('.')))}; "
    pretence += f"sys.executable = {str(path)!r}; "
    if lacks:
        pretence += f"sys.modules[{lacks!r}] = None; "
    return script(
        path,
        f'#!/bin/sh\nexec {sys.executable} -c "{pretence}exec(sys.argv[1])" "$2"\n',
    )


@pytest.fixture
def machine(tmp_path):
    """An empty home and a PATH of two empty folders, beside what the script needs."""
    for tool in ("cat", "grep", "sort", "tail"):
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def find(machine: Path, **environment: str):
    folders = [machine / "first", machine / "second", machine / "tools"]
    return subprocess.run(
        ["/bin/sh", ROOT / "tools/find_python.sh"],
        env={
            "HOME": str(machine),
            "PATH": ":".join(map(str, folders)),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def assert_found(result, path: Path) -> None:
    assert (result.returncode, result.stdout) == (0, f"{path}\n"), result.stderr


def test_path_is_searched_past_what_exists_but_does_not_fit(machine):
    interpreter(machine / "first/python3.14", "3.15.0")
    script(machine / "first/python3.13", SHIM)
    interpreter(machine / "first/python3.12", "3.12.4", lacks="ensurepip")
    interpreter(machine / "first/python3", "3.11.9")
    good = interpreter(machine / "second/python3.12", "3.12.1")
    assert_found(find(machine), good)


def test_an_old_name_for_a_new_python_will_do(machine):
    interpreter(machine / "first/python3", "3.11.9")
    good = interpreter(machine / "first/python", "3.12.0")
    assert_found(find(machine), good)


def test_the_newest_fitting_of_pyenv(machine):
    script(machine / "first/python3", SHIM)
    for version in ("2.7.18", "3.9.18", "3.12.9", "3.13.2", "3.13.10", "3.15.0"):
        interpreter(machine / f".pyenv/versions/{version}/bin/python", version)
    newest = machine / ".pyenv/versions/3.13.10/bin/python"
    assert_found(find(machine), newest)


def test_pyenv_elsewhere(machine):
    good = interpreter(machine / "elsewhere/versions/3.12.1/bin/python", "3.12.1")
    assert_found(find(machine, PYENV_ROOT=str(machine / "elsewhere")), good)


def test_uv_names_a_python_that_it_has(machine):
    good = interpreter(machine / "of uv/python3.12", "3.12.8")
    script(machine / "first/uv", f'#!/bin/sh\n[ $2 = find ] && echo "{good}"\n')
    assert_found(find(machine), good)


def test_uv_installs_a_python_where_there_is_none(machine):
    good = interpreter(machine / "of uv/python3.13", "3.13.1")
    script(
        machine / ".local/bin/uv",
        f"""#!/bin/sh
        case "$2" in
        find) [ -e "{machine}/installed" ] && echo "{good}" ;;
        install) echo "Installed Python $3"; : > "{machine}/installed" ;;
        esac
        """,
    )
    result = find(machine)
    assert_found(result, good)
    assert "Installed Python 3.13" in result.stderr


def test_uv_without_a_network(machine):
    script(machine / "first/uv", "#!/bin/sh\necho 'uv: no network' >&2\nexit 2\n")
    result = find(machine)
    assert (result.returncode, result.stdout) == (1, "")
    assert "uv: no network" in result.stderr
    assert "apt install" in result.stderr


def test_no_python_says_what_to_install(machine):
    script(machine / "first/python3", SHIM)
    result = find(machine)
    assert (result.returncode, result.stdout) == (1, "")
    for word in (
        "3.12 to 3.14",
        "apt install",
        "brew install",
        "pyenv",
        "uv",
        "PYTHON=",
    ):
        assert word in result.stderr


def test_the_python_asked_for(machine):
    interpreter(machine / "first/python3.13", "3.13.1")
    asked = interpreter(machine / "my own/python", "3.12.1")
    assert_found(find(machine, PYTHON=str(asked)), asked)


def test_the_python_asked_for_is_not_replaced_by_another(machine):
    interpreter(machine / "first/python3.13", "3.13.1")
    old = interpreter(machine / "old/python", "3.11.9")
    result = find(machine, PYTHON=str(old))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"PYTHON={old}" in result.stderr


# --- constraints.txt ------------------------------------------------------------------


def test_constraints_pin_every_direct_dependency():
    pins = {
        pin.name: next(iter(pin.specifier)).version
        for pin in map(Requirement, re.findall(r"^[^#\n]+", CONSTRAINTS, re.MULTILINE))
    }
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in map(Requirement, itertools.chain(*groups)):
        version = pins[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, (str(requirement), version)


def test_constraints_hold_exact_versions_and_no_addresses():
    lines = CONSTRAINTS.splitlines()
    assert "make constraints" in "\n".join(lines[:3])
    for line in lines:
        assert re.fullmatch(r"#.*|[a-z0-9-]+==[\w.]+( ; [\w.'<>=! ]+)?", line), line
    assert "/" not in CONSTRAINTS


# --- who may import whom --------------------------------------------------------------


def lint_imports(folder: Path):
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"},  # a contract on each line
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_contracts_hold():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("engine/loop.py", "import flax", "flax <- layers, models"),
        ("engine/loop.py", "import jaxvision.models", "models, tasks, optim <-"),
        ("tasks/classification.py", "import jaxvision.models", "models, tasks, optim"),
        ("models/lenet.py", "import jaxvision.data", "pretrained, data, visualise <-"),
        ("data/source.py", "import tensorflow", "Nobody imports TensorFlow"),
        ("runs/record.py", "import experiments.mnist_lenet5", "The package imports"),
        ("ops/__init__.py", "import jaxvision.layers", "The packages form layers"),
        ("attic.py", "", "The packages form layers"),
    ],
)
def test_import_contracts_notice(tmp_path, file, line, contract):
    for package in ("jaxvision", "experiments", "benchmarks"):
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("__pycache__", "*.json"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with open(tmp_path / "jaxvision" / file, "a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(f"{re.escape(contract)}.* BROKEN", result.stdout), result.stdout


# --- what an import costs -------------------------------------------------------------

HEAVY = (
    "tensorflow torch tensorflow_datasets matplotlib cv2 tensorboardX sklearn pandas"
)
LIGHT = (
    "ops layers models pretrained losses metrics tasks data quality optim engine "
    "visualise runs commands runs.tables"
)


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("jaxvision", f"{HEAVY} orbax jax"),
        (
            " ".join(f"jaxvision.{package}" for package in LIGHT.split()),
            f"{HEAVY} orbax",
        ),
        ("experiments.mnist_lenet5", HEAVY),
    ],
    ids=["package", "packages", "experiment"],
)
def test_imports_are_light(imported, heavy):
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, {', '.join(imported.split())};"
            f"print(*sorted(set({heavy.split()}) & set(sys.modules)))",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "\n"


# --- the wheel, from an empty folder --------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of programs of an environment with the wheel and no checkout.

    It has the packages of this environment, but none that is installed from a checkout:
    what is on the path by a `.pth` does not read the `.pth` files there.
    """
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    binaries = folder / "venv" / "bin"
    paths = sysconfig.get_paths("venv", {"base": str(folder / "venv")})
    Path(paths["purelib"], "packages.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", binaries / "python", "install",
         "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )  # fmt: skip
    return binaries


@pytest.fixture
def shell(installed, tmp_path):
    """Runs a command line of the environment in an empty folder; its output."""

    def run(line: str, folder: str = ".") -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path / folder,
            env=environment | {"PATH": f"{installed}:{environment['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_wheel_needs_no_checkout(shell):
    where = shell('python -c "import jaxvision; print(jaxvision.__file__)"')
    assert not Path(where).is_relative_to(ROOT)
    # A folder of this name is its user's.
    assert "None" in shell(
        "python -c 'from importlib.util import *; print(find_spec(\"experiments\"))'"
    )
    assert "mnist_lenet5" in shell("jaxvision run")
    # By the names that are in the documentation, and one that imports another.
    for name in ("experiments.mnist_lenet5", "series_gramian"):
        name_here = f"python -m jaxvision.experiments.{name.rpartition('.')[2]}"
        shown = shell(f"jaxvision run {name} --help")
        assert f"    {name_here}\n" in shown and f"usage: {name_here}" in shown
    assert "61,706" in shell("jaxvision models lenet5")
    assert "mnist_5k" in shell("python -m jaxvision datasets")


@pytest.mark.slow
def test_the_wheel_begins_runs_and_loads_an_experiment_of_ones_own(shell, tmp_path):
    shell("jaxvision new my_experiment --from mnist_perceptron")
    shell("jaxvision run my_experiment.py --smoke --devices 1")
    [folder] = tmp_path.glob("runs/my_experiment/*")
    record = json.loads((folder / "result.json").read_text())
    assert record["command"] == "python -m my_experiment --smoke --devices 1"
    assert record["git_commit"] is None and record["git_dirty"] is None
    # The recorded command continues it, and from elsewhere it can be used.
    again = f"{record['command']} --workdir {folder.relative_to(tmp_path)}"
    assert "this run is finished" in shell(again)
    (tmp_path / "elsewhere").mkdir()
    code = (
        f"import jaxvision, numpy; run = jaxvision.load({str(folder)!r});"
        "print(run.predict([numpy.zeros((28, 28, 1), numpy.uint8)]))"
    )
    assert "probabilities" in shell(f'python -c "{code}"', "elsewhere")
