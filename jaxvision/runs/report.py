"""`report.html`: a finished run on one page, which can be sent to somebody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxvision.files import read_object
from jaxvision.runs import record
from jaxvision.visualise import page

FILE = "report.html"

_REQUIRED = ("best_step", "evaluations", "experiment", "monitor", "seed", "steps")


def write(workdir: Path) -> Path:
    """Write the report of a finished run from its record and its pictures.

    Returns its path.  Raises `UsageError` where there is no record.
    """
    result = read_object(workdir / "result.json", _REQUIRED)
    pictures = sorted(workdir.glob("*.png"), key=_place)
    body = [
        page.element("p", _headline(result)),
        _results(result),
        *(
            part
            for path in pictures
            for part in (
                page.element("h2", path.stem.replace("_", " ").capitalize()),
                page.element("p", page.picture(path)),
            )
        ),
        page.element("h2", "Config"),
        page.table(_options(result)),
        page.element("h2", "How to repeat it"),
        page.element("pre", str(result.get("command"))),
        page.table(_origin(result)),
    ]
    title = f"{result['experiment']} on {result.get('dataset')}"
    page.write(workdir / FILE, title, body)
    return workdir / FILE


def _place(path: Path) -> tuple[bool, str]:
    """Curves come first."""
    return path.stem != "curves", path.stem


def _headline(result: Mapping[str, Any]) -> str:
    """Such as "test accuracy 98.70 %, published 99.05 % (LeCun et al. 1998)"."""
    key = record.metric_key("test", result["monitor"])
    measure = record.measured(result)[key]
    text = f"{key.replace('_', ' ')} {measure.words(record.number(result, key))}"
    if result.get("reference_metric") == key:
        text += f", published {measure.words(result['reference_value'])}"
        text += f" ({result['reference_source']})"
    text += f"; seed {result['seed']}, step {result['best_step']:,} of "
    text += f"{result['steps']:,}, which is best on validation"
    for shorter in result.get("continued_from", ()):
        text += f"; was finished before after {shorter['epochs']:g} epochs, with "
        text += measure.words(record.number(shorter, key))
    return text


def _results(result: Mapping[str, Any]) -> page.Element:
    """A row for each metric and a column for each evaluation."""
    splits = result["evaluations"]
    cells: dict[str, dict[str, str]] = {}
    for key, measure in record.measured(result).items():
        split = max((s for s in splits if key.startswith(f"{s}_")), key=len)
        name = key.removeprefix(f"{split}_")
        words = measure.words(record.number(result, key))
        cells.setdefault(name, {})[split] = words
    rows = [
        (name.replace("_", " "), *(found.get(split, "") for split in splits))
        for name, found in cells.items()
    ]
    return page.table(rows, head=("", *splits))


_OPTIONS = ("config_", "numerics_")


def _options(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (key.removeprefix(prefix), str(value))
        for prefix in _OPTIONS
        for key, value in result.items()
        if key.startswith(prefix)
    ]


def _origin(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All else that the record says."""
    shown = {"command", "measures", "evaluations", *record.measured(result)}
    return [
        (key.replace("_", " "), str(value))
        for key, value in result.items()
        if key not in shown and not key.startswith((*_OPTIONS, "reference_"))
    ]
