"""More epochs for a run that is finished.

A finished run whose command is given again with more `epochs`, and with nothing else
that is new, continues from its last checkpoint.  It is then the experiment that is
built with the new number: whatever follows from the number of steps, such as the
learning rate, is that of the longer run from the step that was reached.  Its record
says so in `continued_from`, a list with an entry for each time.  The checkpoints of
before remain candidates for the best one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvision.engine import snapshot
from jaxvision.engine.bad_loss import learning_rate
from jaxvision.engine.history import parse_rows
from jaxvision.errors import UsageError, check
from jaxvision.files import Damaged, read_object
from jaxvision.measures import LEARNING_RATE
from jaxvision.runs.record import measured
from jaxvision.types import Experiment

FIELD = "config_epochs"
"""What may be raised: by its name, the same in every experiment."""

KEY = "continued_from"
"""Of `config.json`, checkpoints and records."""

Entry = dict[str, Any]
"""What a run was before it was continued: epochs, steps, best step, what was measured,
and the learning rates of its last step and of the next one."""


def entry(workdir: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> Entry:
    """The entry for a run in `workdir` of which more epochs are asked for `now`.

    Raises `UsageError` that says what to do where it cannot be continued.
    """
    numbers: list[Any] = [each.get(FIELD) for each in (before, now)]
    if not all(isinstance(number, int | float) for number in numbers):
        raise UsageError(
            f"{workdir} holds a run with another number of epochs, {numbers[0]!r} and "
            f"now {numbers[1]!r}: repeat its options, or choose a new --workdir"
        )
    was, wanted = (f"{number:g}" for number in numbers)
    if numbers[1] < numbers[0]:
        raise UsageError(
            f"{workdir} holds a run of {was} epochs, and --epochs {wanted} is not more "
            "than that: repeat its options, or choose a new --workdir"
        )
    file = workdir / "result.json"
    try:
        result = read_object(file, ("epochs", "steps", "best_step", "finished_at"))
    except Damaged as error:
        if file.exists():
            raise UsageError(
                f"{error}: the same command with --epochs {was} tests the run again; "
                "continue it after that"
            ) from error
        result = None
    if result is None or not is_of(result, before.get(KEY, ())):
        raise UsageError(
            f"{workdir} holds a run of {was} epochs that is not finished: finish it "
            f"with --epochs {was}, then continue it with --epochs {wanted}; or choose "
            "a new --workdir"
        )
    rows = _log_of_last(workdir, result["steps"])
    rates = [row[LEARNING_RATE.name] for row in rows if LEARNING_RATE.name in row]
    kept = ("epochs", "steps", "best_step", "stopped", "planned_steps", "finished_at")
    return {
        **{key: result[key] for key in (*kept, *measured(result)) if key in result},
        "last_learning_rate": rates[-1] if rates else None,
    }


def _log_of_last(workdir: Path, step: int) -> list[dict[str, Any]]:
    """The rows in the checkpoint of the last step, all of which can be read."""
    folder = snapshot.step_folder(workdir / "checkpoints", step)
    if not folder.is_dir():
        raise UsageError(
            f"{workdir} cannot be continued: there is no checkpoint of its last step "
            f"{step}; choose a new --workdir"
        )
    try:
        snapshot.verify(folder)
        return parse_rows(snapshot.read_contents(folder)["extra"]["log"])
    except UsageError:
        raise
    except Exception as error:  # in whatever way the reader stumbles over damage
        raise UsageError(
            f"{workdir} cannot be continued: the checkpoint of its last step {step} is "
            f"damaged ({error}); choose a new --workdir"
        ) from error


def is_of(result: Mapping[str, Any], continued_from: Sequence[Entry]) -> bool:
    """Whether a record is of the run as it is now, not of one before more epochs."""
    return list(result.get(KEY, ())) == list(continued_from)


def announce(entry: Entry, experiment: Experiment) -> str:
    """Say, there and in words, at which learning rate the run continues.

    Raises `UsageError` if it has done all steps that the experiment asks for.
    """
    reached: int = entry["steps"]
    planned: int = entry.get("planned_steps", reached)
    check(
        (
            experiment.steps > planned,
            f"--epochs asks for {experiment.steps:,} steps, and the run was finished "
            f"with {planned:,}: ask for more",
        )
    )
    rate = entry.setdefault("next_learning_rate", learning_rate(experiment, reached))
    last = entry["last_learning_rate"]
    before = "" if last is None else f" after {last:.3g} of the shorter one"
    return (
        f"this run was finished after {entry['epochs']:g} epochs, {reached:,} steps, "
        f"and goes on to {experiment.steps:,}: with the schedule of the longer run, at "
        f"a learning rate of {rate:.3g}{before}"
    )
