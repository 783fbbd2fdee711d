"""`python -m jaxvision models | table | publish | prepare | doctor`.

One function for each command: its signature is the command line, its docstring the
help.  What a command needs is imported inside it, so that `--help` answers at once.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxvision import tables
from jaxvision.errors import UsageError, unknown

EXIT_USAGE = 2


def models() -> None:
    """List the models with their default input and their number of parameters."""
    import jax

    from jaxvision import models
    from jaxvision.engine.state import count

    table = Table("model", box=None, header_style="bold")
    table.add_column("input (H × W × C)", justify="right")
    table.add_column("parameters", justify="right")
    for name in models.names():
        shape = models.default_input(name)
        images = jax.ShapeDtypeStruct((1, *shape), "float32")
        variables = jax.eval_shape(models.create(name).init, jax.random.key(0), images)
        parameters = f"{count(variables['params']):,}"
        table.add_row(name, " × ".join(map(str, shape)), parameters)
    _print(table)


def table(
    check: bool = False,
    readme: Path = Path("README.md"),
    records: Path = Path(tables.RECORDS),
) -> None:
    """Write the results table of the README from the published records.

    Args:
        check: Change nothing; exit with code 1 if the README is out of step.
        readme: The file whose part between the results markers is written.
        records: The folder of the published records.
    """
    if check:
        if not tables.check(readme, records):
            print(f"{readme} is out of step: run python -m jaxvision table")
            sys.exit(1)
        print(f"{readme} is in step with {records}")
    elif tables.update(readme, records):
        print(f"{readme}: results written from {records}")
    else:
        print(f"{readme} was in step with {records} already")


def publish(
    run_dir: tyro.conf.Positional[Path],
    label: str | None = None,
    records: Path = Path(tables.RECORDS),
) -> None:
    """Copy the record of a finished run to where the results table finds it.

    Args:
        run_dir: The run directory, which holds result.json.
        label: Tells this config from others of the same experiment and data set.
            Default: nothing for the first of them, a short hash for the others.
        records: The folder of the published records.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = tables.publish(run_dir, records, label=label)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(f"{path}: published; python -m jaxvision table brings the README up to date")


def prepare(name: tyro.conf.Positional[str], data_dir: str | None = None) -> None:
    """Download and prepare a data set, unless it is there.

    Args:
        name: As in `--dataset` of the experiments, such as mnist or cifar10.
        data_dir: Where data sets are kept. Default: the environment's TFDS_DATA_DIR,
            else ~/tensorflow_datasets.
    """
    from jaxvision.data import registry

    print(f"{name} is ready in {registry.prepare(name, data_dir)}")


def doctor() -> None:
    """Show what a run would find here: versions, devices, folders, data sets, git."""
    import jax

    from jaxvision import record
    from jaxvision.engine.compilation import cache_folder

    found = record.provenance("jaxvision", ["doctor"])
    devices = jax.devices()
    cache, data = cache_folder(), _data_folder()
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
        "prepared": ", ".join(_prepared(data)) or "none; mnist_5k works offline",
        "git": "no commit here"
        if commit is None
        else f"{commit[:12]}{', with uncommitted changes' if dirty else ''}",
    }
    grid = Table(box=None, show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, value)
    _print(grid)


COMMANDS: dict[str, Callable[..., Any]] = {
    "models": models,
    "table": table,
    "publish": publish,
    "prepare": prepare,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.  A mistake of the user ends with one message and code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if (
            arguments
            and not arguments[0].startswith("-")
            and arguments[0] not in COMMANDS
        ):
            raise unknown("command", arguments[0], COMMANDS)
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="python -m jaxvision",
            description="Computer vision research in JAX. Experiments are programs of "
            "their own: python -m experiments.mnist_lenet5 --help",
            args=arguments or ["--help"],
            config=(
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.PositionalMetavarFromFieldName,
            ),
        )
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)


def _print(content: Any) -> None:
    Console(highlight=False).print(content)


def _data_folder() -> Path:
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(folder).expanduser()


def _state(folder: Path) -> str:
    """Whether runs can write to a folder that may have yet to be made."""
    if folder.is_dir():
        return "writable" if os.access(folder, os.W_OK) else "not writable"
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    return "not there yet" if os.access(parent, os.W_OK) else "cannot be made"


def _prepared(folder: Path) -> list[str]:
    """`name:version` or `name/config:version` of the sets that TFDS has written."""
    return sorted(
        f"{'/'.join(path.parts[:-1])}:{path.parts[-1]}"
        for depth in ("*/*", "*/*/*")
        for path in (
            info.parent.relative_to(folder)
            for info in folder.glob(f"{depth}/dataset_info.json")
        )
    )
