"""`python -m jaxvision doctor`."""

import os
from collections.abc import Callable
from pathlib import Path

from jaxvision.commands.printing import show_rows
from jaxvision.runs import programs


def doctor() -> Callable[[list[str]], None]:
    """Show what a run would find here; doctor EXPERIMENT … shows what it would do.

    Without an experiment: versions, devices, folders, data sets, git. With one, and
    with options of it: its config, data, mesh, parameters, memory and operations.
    """
    return _doctor


def _doctor(passed: list[str]) -> None:
    if passed:
        experiment, *options = passed
        programs.become(programs.find(experiment), [*options, "--dry-run"])
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


def _state(folder: Path) -> str:
    """Whether runs can write to a folder that may have yet to be made."""
    if folder.is_dir():
        return "writable" if os.access(folder, os.W_OK) else "not writable"
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    return "not there yet" if os.access(parent, os.W_OK) else "cannot be made"
