"""`python -m jaxvision doctor`."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from jaxvision.commands.printing import show_rows
from jaxvision.errors import UsageError


def doctor() -> Callable[[list[str]], None]:
    """Show what a run would find here; doctor MODULE … shows what it would do.

    Without a module: versions, devices, folders, data sets, git. With one, and with
    the options of a run: its config, data, mesh, parameters, memory and operations.
    """
    return _doctor


def _doctor(passed: list[str]) -> None:
    if passed:
        import runpy

        _check_there(passed[0])
        sys.argv = [passed[0], *passed[1:], "--dry-run"]
        runpy.run_module(passed[0], run_name="__main__", alter_sys=True)
        return
    import jax

    from jaxvision.data import catalogue
    from jaxvision.data.tfds import source as tfds_source
    from jaxvision.engine.compilation import cache_folder
    from jaxvision.runs import record

    found = record.provenance("jaxvision", ["doctor"])
    devices = jax.devices()
    cache, data = cache_folder(), tfds_source.data_folder()
    prepared = [found.name for found in catalogue.prepared(data)]
    commit, dirty = found["git_commit"], found["git_dirty"]
    rows = {
        "versions": ", ".join(
            f"{key.removeprefix('version_')} {value or 'not installed'}"
            for key, value in found.items()
            if key.startswith("version_")
        ),
        "platform": found["platform"],
        "devices": f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})",
        "hardware": record.hardware(devices[0].device_kind, len(devices)),
        "compilation cache": f"{cache} ({_state(cache)})",
        "data sets": f"{data} ({_state(data)})",
        "prepared": ", ".join(prepared) or "none; mnist_5k works offline",
        "git": "no commit here"
        if commit is None
        else f"{commit[:12]}{', with uncommitted changes' if dirty else ''}",
    }
    show_rows(rows)


def _check_there(module: str) -> None:
    """Raises `UsageError` unless there is a module of that name to run."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # of a package that is not there; no name at all
        found = None
    if found is not None and found.submodule_search_locations is None:
        return
    if found is not None:
        raise UsageError(
            f"{module!r} is a package: name one of its modules, which is an experiment"
        )
    if module.endswith(".py"):
        name = ".".join(Path(module.removeprefix("./")).with_suffix("").parts)
        hint = f"write it as a module, {name}"
    else:
        hint = (
            "modules are looked for in this folder; the experiments that come with "
            "jaxvision are in a clone of its repository, not in the wheel.  Change to "
            "the clone, or name a file of your own: my_experiment for my_experiment.py"
        )
    raise UsageError(f"there is no module {module!r} in {Path.cwd()}: {hint}")


def _state(folder: Path) -> str:
    """Whether runs can write to a folder that may have yet to be made."""
    if folder.is_dir():
        return "writable" if os.access(folder, os.W_OK) else "not writable"
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    return "not there yet" if os.access(parent, os.W_OK) else "cannot be made"
