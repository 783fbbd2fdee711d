"""`study(examine, Config)`: an experiment that is no run of one network, as a program.

It has options, a record and pictures as a run has, so that it is published, repeated
and found among the runs in the same way; there is no checkpoint or mesh.  What it
trains goes through the loop by `runs.trained`.
"""

import dataclasses
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.table import Table

from jaxvision.engine import sharding
from jaxvision.errors import check
from jaxvision.files import plain, remove_partials, replace_object, replacing
from jaxvision.measures import Measure
from jaxvision.printing import print_whatever_the_encoding
from jaxvision.runs import command_line, lock, pictures, record
from jaxvision.runs.exit_codes import exit_codes
from jaxvision.runs.workdir import writing


class Study(NamedTuple):
    """What was found."""

    dataset: str
    """What was looked at, in a word or as the name of a data set."""
    measures: Sequence[Measure]
    """What the numbers are; the first is the headline of the table of results."""
    numbers: Mapping[str, float]
    """By the names of the measures."""
    figures: Mapping[str, Any]
    """`{file name: Figure}`."""
    files: Mapping[str, bytes] = MappingProxyType({})
    """`{file name: content}` of what is no figure, such as an animation."""
    parameters: int = 0
    """Numbers that were learned."""


def study(
    examine: Callable[[Any], Study],
    Config: type,
    *,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Examine what the command line asks for, and record it.

    `examine` finds a `Study` for a config; the other arguments, what is returned and
    how the process ends are as in `run`.
    """
    print_whatever_the_encoding()
    with exit_codes(None):
        command = command_line.parse_study(examine, Config, smoke, arguments, name)
        workdir = command.workdir
        check(
            (
                not (workdir / "result.json").exists(),
                f"{workdir} holds a finished run: choose a new --workdir",
            )
        )
        with writing(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
        with lock.held(workdir):
            return _examine(examine, command)
    return {}


def _examine(
    examine: Callable[[Any], Study], command: command_line.StudyCommand
) -> dict[str, Any]:
    started = time.perf_counter()
    # Of what runs, which a commit that is made meanwhile is not.
    origin = record.provenance(command.program, command.arguments, command.folder)
    remove_partials(command.workdir)
    found = examine(command.config)
    missing = {m.name for m in found.measures} ^ found.numbers.keys()
    assert not missing, f"numbers and measures differ by {missing}"
    device = sharding.describe(sharding.make_mesh(1, None))
    config = dataclasses.asdict(command.config)
    result = plain(
        {
            "format": record.FORMAT,
            "experiment": command.name,
            "program": command.program,
            "smoke": command.smoke,
            **{f"config_{name}": value for name, value in config.items()},
            **{record.metric_key("test", k): v for k, v in found.numbers.items()},
            "measures": record.describe_measures(found.measures),
            "monitor": found.measures[0].name,
            "evaluations": ["test"],
            "dataset": found.dataset,
            "seed": config.get("seed", 0),
            "parameters": found.parameters,
            "steps": 0,  # of training
            "wall_seconds": time.perf_counter() - started,
            **device,
            "hardware": record.hardware(**device),
            **origin,
            "finished_at": datetime.datetime.now(datetime.UTC).isoformat(
                "T", "seconds"
            ),
        }
    )
    say = command.console.print
    pictures.save_all("pictures", lambda: found.figures, command.workdir, say)
    for name, content in found.files.items():
        with replacing(command.workdir / name) as partial:
            partial.write_bytes(content)
    replace_object(command.workdir / "result.json", result)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for measure in found.measures:
        words = measure.words(found.numbers[measure.name])
        table.add_row(measure.name.replace("_", " "), words)
    say(table)
    say(f"results and pictures are in {command.workdir}")
    return result
