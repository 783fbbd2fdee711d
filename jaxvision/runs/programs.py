"""Experiments as programs: what their names mean, how they are run and imported.

A program is known by its module, as after `python -m`, or by the path of its file,
which ends in `.py`.  The experiments that come with jaxvision are the package
`jaxvision.experiments` where it is installed from a wheel, and `experiments` in a clone
of its repository.
"""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import jaxvision
from jaxvision.errors import UsageError, unknown

PACKAGES = ("", "experiments", "jaxvision.experiments")
"""Where an experiment that comes with jaxvision is looked for by a user or a record,
wherever it is here."""


def shipped() -> dict[str, Path]:
    """The files of the experiments that come with jaxvision, by name, sorted."""
    package = Path(jaxvision.__file__).parent
    folder = package / "experiments"
    if not folder.is_dir():
        folder = package.parent / "experiments"
    return {
        path.stem: path
        for path in sorted(folder.glob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }


def find(word: str) -> str:
    """The program that a user means by a file, a module, or the name of an experiment
    that comes with jaxvision.

    One's own file in this folder goes before one of the same name that comes with
    jaxvision.  Raises `UsageError` if there is none.
    """
    if word.endswith(".py"):
        if not os.path.isfile(word):
            raise UsageError(f"there is no file {word!r} in {Path.cwd()}")
        return of_file(Path(word))
    found = _spec(word)
    if found is not None and found.submodule_search_locations is None:
        return word
    if os.path.isfile(
        _path(word)
    ):  # this folder need not be where Python looks for modules
        return of_file(_path(word))
    package, _, name = word.rpartition(".")
    ours = shipped()
    if package in PACKAGES and name in ours:
        return of_file(ours[name])
    if found is not None:
        raise UsageError(
            f"{word!r} is a package: name one of its modules, which is an experiment"
        )
    raise UsageError(
        f"{unknown('experiment', word, ours)}\n"
        f"One's own is looked for in {Path.cwd()}, as a module or as a path that ends "
        "in .py"
    )


def of_file(path: Path) -> str:
    """The program of a file: its module, where `python -m` finds it from this folder;
    else its path, relative if it is below this folder."""
    path = path.resolve()
    parts, root = [path.stem], path.parent
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    # What is first on the path is the folder of the program that runs now.
    spec = PathFinder.find_spec(parts[0], [str(Path.cwd()), *sys.path[1:]])
    if spec is not None and spec.origin is not None:
        origin = Path(spec.origin).resolve()
        if origin in (path, root / parts[0] / "__init__.py"):
            return ".".join(parts)
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def of(build: Callable) -> str:
    """The program whose function `build` is."""
    module = build.__module__
    if module != "__main__":
        return module
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else of_file(Path(inspect.getfile(build)))


def name_of(program: str) -> str:
    """What its runs are called after."""
    is_file = program.endswith(".py")
    return Path(program).stem if is_file else program.rpartition(".")[2]


def words(program: str) -> list[str]:
    """The arguments by which Python runs it."""
    return [program] if program.endswith(".py") else ["-m", program]


def become(program: str, arguments: Sequence[str]) -> NoReturn:
    """Let this process go on as the program, as if Python had been started with it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *words(program), *arguments])


def load(program: str, run: Path | None = None) -> ModuleType:
    """The module of a program, imported.

    run: a run directory.  What is not found from here is looked for in the folders that
    it lies in: by default a run directory is below the folder of its start.
    """
    found = None if program.endswith(".py") else _spec(program)
    if found is not None and found.submodule_search_locations is None:
        return importlib.import_module(program)
    for folder in (Path.cwd(), *(() if run is None else run.resolve().parents)):
        if os.path.isfile(folder / _path(program)):
            return _imported(folder / _path(program))
    program = find(program)  # one that comes with jaxvision
    if program.endswith(".py"):
        return _imported(Path(program))
    return importlib.import_module(program)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # of a package that is not there; no name at all
        return None


def _path(program: str) -> Path:
    """Where the file of a program is, from the folder in which it is run."""
    return Path(
        program if program.endswith(".py") else program.replace(".", "/") + ".py"
    )


def _imported(path: Path) -> ModuleType:
    path = path.resolve()
    if str(path.parent) not in sys.path:  # as for a script, but after what is there
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module
