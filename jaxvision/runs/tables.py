"""The tables of results, made from the records of published runs.

A run leaves a record in its run directory, `result.json`.  `publish` checks one and
copies it to where it is kept under version control; `update` writes one row for each
group of records that differ in nothing but the seed.  No number is typed by hand.
"""

import hashlib
import itertools
import json
import math
import re
import shlex
import statistics
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from jaxvision import errors
from jaxvision.errors import UsageError
from jaxvision.files import read_object, replace_text
from jaxvision.measures import measure_of
from jaxvision.runs.record import FORMAT, measures_of, metric_key

Record = Mapping[str, Any]

RECORDS = "experiments/results"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

_REQUIRED: dict[str, tuple[type, ...]] = {
    "experiment": (str,),
    "dataset": (str,),
    "seed": (int,),
    "parameters": (int,),
    "wall_seconds": (int, float),
    "hardware": (str,),
    "command": (str,),
    "finished_at": (str,),
    "smoke": (bool,),
    "monitor": (str,),
    "measures": (dict,),
}
_COLUMNS = (
    "Experiment",
    "Data set",
    "Parameters",
    "Result",
    "Published",
    "Time and hardware",
    "Command",
)
_NOTE = (
    "Mean ± sample standard deviation over n seeds; time is the mean of one run from "
    "launch to result. Each number comes from the records under `experiments/results`, "
    "one for each run; `python -m jaxvision table` writes this table."
)


def publish(
    run_dir: str | Path, records_dir: str | Path = RECORDS, *, tag: str | None = None
) -> Path:
    """Copy the record of a finished run to where the tables find it; return its path.

    The file is named `<experiment>-<dataset>[-<tag>]-seed<k>.json`.  The tag tells
    configs apart: a case of several has its name, else the first config of an
    experiment on a data set has none, and another one gets a short hash of itself
    unless `tag` names it.  Publishing a config and seed again replaces their record.
    Paths of this machine stay out of the record.

    Warns when the run's code was not committed.  Raises `UsageError` when the run is
    not finished or was a smoke run, when its record lacks something, and when `tag`
    belongs to another config.
    """
    source, records = Path(run_dir) / "result.json", Path(records_dir)
    errors.check(
        (
            source.is_file(),
            f"{run_dir} holds no finished run: there is no {source.name} in it; the "
            "run's own command with its --workdir finishes it",
        ),
        (
            records.is_dir() or records.parent.is_dir(),
            f"the folder {records.parent} does not exist: run this in the root of the "
            "repository, or say where the records are",
        ),
    )
    record = _portable(read_object(source))
    _validate(source, record)
    if record["smoke"]:
        raise UsageError(
            f"{source} is the record of a smoke run, whose numbers mean nothing: "
            "publish a run without --smoke"
        )
    if record.get("git_dirty"):
        warnings.warn(
            f"{source}: the code of this run differs from commit "
            f"{record.get('git_commit')}, so that nobody can repeat it exactly",
            stacklevel=2,
        )
    records.mkdir(exist_ok=True)
    published = _read_all(records)
    record["tag"] = tag or record.get("case") or _tag(record, published.values())
    parts = [record["experiment"], record["dataset"], record["tag"]]
    parts.append(f"seed{record['seed']}")
    stem = "-".join(re.sub(r"[^\w.=-]+", "-", part) for part in parts if part)
    target = records / f"{stem}.json"
    if target in published and _identity(published[target]) != _identity(record):
        raise UsageError(
            f"{target} is the record of another config: choose another --tag than "
            f"{record['tag']!r}"
        )
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    replace_text(target, text + "\n")
    return target


def render(records_dir: str | Path = RECORDS) -> str:
    """The table in GitHub's Markdown; the same for the same records on any machine.

    Raises `UsageError` that names the file and the key when a record is malformed.
    """
    records = _read_all(Path(records_dir))
    if not records:
        return "No results are published yet."
    rows = defaultdict(list)
    for path, record in records.items():
        rows[_row(record)].append((path, record))
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    for row in sorted(rows):
        members = sorted(rows[row], key=lambda member: member[1]["seed"])
        for (path, record), (other, following) in itertools.pairwise(members):
            if record["seed"] == following["seed"]:
                raise UsageError(
                    f"{path} and {other} are records of the same config with the same "
                    f"seed {record['seed']}: remove one of them"
                )
        lines.append(_line(_cells([record for _, record in members])))
    return "\n".join([*lines, "", _NOTE])


def update(page: str | Path, records_dir: str | Path = RECORDS) -> bool:
    """Bring the part of `page` between the markers up to date; True if it was not.

    Raises `UsageError` when a marker is missing, and as `render` does.
    """
    old, new = _old_and_new(Path(page), records_dir)
    if old != new:
        replace_text(Path(page), new)
    return old != new


def check(page: str | Path, records_dir: str | Path = RECORDS) -> bool:
    """Whether `page` says what the records say.  Raises `UsageError` as `update`."""
    old, new = _old_and_new(Path(page), records_dir)
    return old == new


def _old_and_new(page: Path, records_dir: str | Path) -> tuple[str, str]:
    try:
        old = page.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no {page}: run this in its folder") from None
    for marker in (BEGIN, END):
        if old.count(marker) != 1:
            raise UsageError(
                f"{page} must hold the marker {marker} exactly once, got "
                f"{old.count(marker)}: the table goes between {BEGIN} and {END}"
            )
    before, _, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise UsageError(f"{page}: the marker {END} must come after {BEGIN}")
    return old, f"{before}{BEGIN}\n\n{render(records_dir)}\n\n{END}{after}"


# Records


def _read_all(folder: Path) -> dict[Path, dict[str, Any]]:
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder} with records: run this in the root of the "
            "repository, or say where they are"
        )
    records = {path: read_object(path) for path in sorted(folder.glob("*.json"))}
    for path, record in records.items():
        _validate(path, record)
    return records


def _validate(path: Path, record: Record) -> None:
    """Every fault of the record in one error that names the file and the keys."""
    if record.get("format") != FORMAT:
        raise UsageError(
            f"{path}: the record has format {record.get('format', 1)}, and this code "
            f"reads format {FORMAT}: publish the run with the code that made it, or "
            "repeat the run"
        )
    rules = [
        (
            _is_a(record.get(key), types),
            f"{path}: {key!r} must be {' or '.join(t.__name__ for t in types)}, "
            + (f"got {record[key]!r}" if key in record else "it is missing"),
        )
        for key, types in _REQUIRED.items()
    ]
    metric, value = _metric(record), record.get(_metric(record))
    rules.append(
        (
            _is_a(value, (int, float)) and math.isfinite(value),  # type: ignore[arg-type]
            f"{path}: {metric!r}, the metric of its row, must be a finite number, "
            + (f"got {value!r}" if metric in record else "it is missing"),
        )
    )
    reference = record.get("reference_value")
    rules.append(
        (
            reference is None
            or (
                _is_a(reference, (int, float)) and bool(record.get("reference_source"))
            ),
            f"{path}: 'reference_value' must be a number with a 'reference_source', "
            f"got {reference!r} from {record.get('reference_source')!r}",
        )
    )
    errors.check(*rules)


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    """`isinstance`, without taking True for the number 1."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _metric(record: Record) -> str:
    """The key of what its row states: the test's value of what was monitored."""
    monitored = metric_key("test", str(record.get("monitor")))
    return record.get("reference_metric") or monitored


def _config(record: Record) -> dict[str, Any]:
    """What was asked for, apart from the seed.  A run that was continued is not the
    same as one that had all of its epochs from the start."""
    config = {
        key: value
        for key, value in record.items()
        if key.startswith(("config_", "numerics_")) and key != "config_seed"
    }
    shorter = [entry["epochs"] for entry in record.get("continued_from", ())]
    return config | ({"continued_from": shorter} if shorter else {})


def _identity(record: Record) -> tuple:
    """What a file of records belongs to: publishing it again may replace it."""
    return (record["experiment"], record["dataset"], record["seed"], _config(record))


def _row(record: Record) -> tuple[str, ...]:
    """Records with the same key share a row: all that a row states once, and config."""
    rest = {
        "config": _config(record),
        "parameters": record["parameters"],
        "reference": [record.get(f"reference_{k}") for k in ("value", "source")],
        "metric": _metric(record),
    }
    names = (record["experiment"], record["dataset"], record.get("tag") or "")
    return (*names, json.dumps(rest, sort_keys=True))


def _tag(record: Record, published: Iterable[Record]) -> str | None:
    """That of the same config under another seed, none for the first, or a hash."""
    siblings = [
        other
        for other in published
        if (other["experiment"], other["dataset"])
        == (record["experiment"], record["dataset"])
    ]
    for other in siblings:
        if _config(other) == _config(record):
            return other.get("tag")
    if all(other.get("tag") for other in siblings):
        return None
    config = json.dumps(_config(record), sort_keys=True)
    return hashlib.sha256(config.encode()).hexdigest()[:6]


def _portable(record: Record) -> dict[str, Any]:
    """The record without what means something only on the machine that made it."""
    kept = dict(record)
    if isinstance(kept.get("command"), str):
        kept["command"] = portable_command(kept["command"])
    return {
        key: value
        for key, value in kept.items()
        if not key.endswith("workdir") and not _has_machine_path(value)
    }


def portable_command(command: str) -> str:
    """The command without `--workdir` and options that are paths of a machine."""
    words = shlex.split(command)
    kept: list[str] = []
    while words:
        word = words.pop(0)
        value_follows = word.startswith("--") and bool(words)
        if re.fullmatch(r"(.*/)?python[\d.]*", word):
            kept.append("python")
        elif word == "--workdir" or (value_follows and _has_machine_path(words[0])):
            del words[:1]
        elif not word.startswith("--workdir=") and not _has_machine_path(word):
            kept.append(word)
    return shlex.join(kept)


def _has_machine_path(value: Any) -> bool:
    """Whether a text, or one in a list, names an absolute path or a home folder."""
    if isinstance(value, list):
        return any(map(_has_machine_path, value))
    if not isinstance(value, str):
        return False
    return any(
        len(word) > 1
        and (
            PurePosixPath(word).is_absolute()
            or PureWindowsPath(word).is_absolute()
            or word.startswith("~/")
        )
        for word in re.split(r"[\s=,'\"]+", value)
    )


# Cells


def _cells(records: Sequence[Record]) -> list[str]:
    """A row of the table from records in the order of their seeds."""
    first, metric = records[0], _metric(records[0])
    tag = first.get("tag")
    reference = "—"
    if first.get("reference_value") is not None:
        reference = _number(first, [first["reference_value"]])
        reference += f" ({first['reference_source']})"
    count = f" (n = {len(records)})" if len(records) > 1 else ""
    return [
        first["experiment"] + (f" ({tag})" if tag else ""),
        first["dataset"],
        f"{first['parameters']:,}",
        f"{metric.replace('_', ' ')} "
        f"{_number(first, [record[metric] for record in records])}{count}",
        reference,
        "<br>".join(_times(records)),
        f"`{_command(records)}`" + _continued(first),
    ]


def _continued(record: Record) -> str:
    """What the command alone does not say: it was first given with fewer epochs."""
    shorter = [f"{entry['epochs']:g}" for entry in record.get("continued_from", ())]
    return f", after --epochs {' and '.join(shorter)}" if shorter else ""


def _number(record: Record, values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, as the record's measure writes them."""
    measure = measure_of(_metric(record), measures_of(record))
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return measure.words(statistics.fmean(values), deviation)


def _times(records: Sequence[Record]) -> list[str]:
    """For each kind of hardware, the mean time of the runs on it."""
    seconds = defaultdict(list)
    for record in records:
        seconds[record["hardware"]].append(record["wall_seconds"])
    return [
        f"{duration(statistics.fmean(times))} on {hardware}"
        for hardware, times in sorted(seconds.items())
    ]


def duration(seconds: float) -> str:
    """In the two largest units: `4.2 s`, `48 s`, `3 min 20 s`, `2 h 05 min`."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _command(records: Sequence[Record]) -> str:
    """The command line of one run, or a shell's loop over the seeds of several."""
    if len(records) == 1:
        return records[0]["command"]
    words = shlex.split(records[0]["command"])
    kept: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--seed":
            del words[:1]
        elif not word.startswith("--seed="):
            kept.append(word)
    seeds = " ".join(str(record["seed"]) for record in records)
    command = f"{shlex.join(kept)} --seed $seed"
    return f"for seed in {seeds}; do {command}; done"


def _line(cells: Iterable[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
