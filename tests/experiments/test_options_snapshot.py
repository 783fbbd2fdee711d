"""No option of an experiment changes its default, or disappears, unnoticed.

`options.json` has the options and defaults of every experiment.  After a change that is
meant, write it again and commit it with the change:

    UPDATE_SNAPSHOTS=1 make test ARGS="-k snapshot"
"""

import dataclasses
import importlib
import json
import os
from pathlib import Path

from test_experiments import NAMES

FILE = Path(__file__).parent / "options.json"


def options(name):
    """Defaults by option; what JSON has no type for as text."""
    config = importlib.import_module(f"experiments.{name}").Config()
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def differences(frozen, current):
    """A line for each option that was added, removed or given another default."""
    lines = []
    for name in sorted(frozen.keys() | current.keys()):
        before, now = frozen.get(name), current.get(name)
        if before is None or now is None:
            lines.append(f"{name}: {'new' if before is None else 'gone'}")
            continue
        for option in sorted(before.keys() | now.keys()):
            was = f"was {before[option]!r}" if option in before else "is new"
            is_now = f"now {now[option]!r}" if option in now else "is gone"
            if was.removeprefix("was") != is_now.removeprefix("now"):
                lines.append(f"{name} --{option}: {was}, {is_now}")
    return lines


def test_snapshot_of_all_options():
    current = {name: options(name) for name in NAMES}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FILE.write_text(json.dumps(current, indent=2) + "\n", encoding="utf-8")
    frozen = json.loads(FILE.read_text(encoding="utf-8"))
    changed = differences(frozen, current)
    assert not changed, "\n".join(
        ["options differ from tests/experiments/options.json:", *changed, __doc__]
    )


def test_snapshot_differences_are_named():
    frozen = {"a": {"epochs": 3, "seed": 0}, "b": {}}
    current = {"a": {"epochs": 4, "width": 8}, "c": {}}
    assert differences(frozen, current) == [
        "a --epochs: was 3, now 4",
        "a --seed: was 0, is gone",
        "a --width: is new, now 8",
        "b: gone",
        "c: new",
    ]
    assert differences(frozen, frozen) == []
