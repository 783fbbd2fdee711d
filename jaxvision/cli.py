"""`python -m jaxvision models | datasets | table | publish | prepare | doctor`.

One function for each command: its signature is the command line, its docstring the
help.  What a command needs is imported inside it, so that `--help` answers at once.
"""

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxvision import files, tables
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


def datasets(
    name: tyro.conf.Positional[str | None] = None,
    data_dir: str | None = None,
    output: Path | None = None,
) -> None:
    """List the data sets, or show the card of one: what it holds, counted.

    Args:
        name: As in `--dataset` of the experiments. Of this set the card is shown, and
            written as card.json and, with a contact sheet, as card.png. A set that is
            not there is downloaded and prepared. Default: list all.
        data_dir: Where data sets are kept. Default: the environment's TFDS_DATA_DIR,
            else ~/tensorflow_datasets.
        output: The folder of card.json and card.png. Default: runs/datasets/NAME.
    """
    if name is None:
        _list_datasets(data_dir)
    else:
        folder = output or Path("runs", "datasets", re.sub(r"[^\w.-]+", "_", name))
        _show_card(name, data_dir, folder)


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
    from jaxvision.data import catalogue, tfds_source
    from jaxvision.engine.compilation import cache_folder

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
    _print_rows(rows)


COMMANDS: dict[str, Callable[..., Any]] = {
    "models": models,
    "datasets": datasets,
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


def _list_datasets(data_dir: str | None) -> None:
    from rich.columns import Columns

    from jaxvision.data import catalogue, registry, tfds_source

    print("Built in, no download:")
    table = Table(box=None, show_header=False, pad_edge=True)
    for name, splits in catalogue.built_in().items():
        table.add_row(
            name,
            _splits({part: split.size for part, split in splits._asdict().items()}),
            _shape(splits.train.image_shape),
            catalogue.origin(name),
        )
    _print(table)

    folder = tfds_source.data_folder(data_dir)
    print(f"\nPrepared in {folder}:")
    table = Table(box=None, show_header=False, pad_edge=True)
    for found in catalogue.prepared(folder):
        sizes = _splits(found.splits) or "its dataset_info.json cannot be read"
        table.add_row(found.name, sizes, _megabytes(found.size))
    _print(table if table.row_count else "  none yet")

    print(
        "\nOf TensorFlow Datasets, downloaded and prepared on first use; some may\n"
        "need TensorFlow for that, and say so:"
    )
    offered = [
        f" {name} {_shape(shape)}" for name, shape in tfds_source.offered().items()
    ]
    _print(Columns(offered, padding=(0, 2), column_first=True))
    print(
        f"\nTheir variants, such as emnist/letters: {catalogue.ONLINE}\n"
        f"Your own images:      {', '.join(f'{kind}:PATH' for kind in registry.OWN)}\n"
        "To prepare one now:   python -m jaxvision prepare NAME\n"
        "To see what it holds: python -m jaxvision datasets NAME"
    )


def _show_card(name: str, data_dir: str | None, folder: Path) -> None:
    from jaxvision import visualise
    from jaxvision.data import card, catalogue, registry
    from jaxvision.data.source import Splits

    loaded = registry.load(name, data_dir=data_dir)
    # Read once, for the numbers and for the examples.
    splits = Splits(*(split._replace(read=cache(split.read)) for split in loaded))
    found = card.card(name, splits)
    origin = catalogue.origin(name, data_dir)
    rows = card.rows(found)
    _print_rows({"data set": name, "from": origin} | rows)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"origin": origin} | card.record(found)
        files.replace_text(folder / "card.json", json.dumps(content, indent=2) + "\n")
        figure = visualise.card(
            {"train": found.train.class_counts, "test": found.test.class_counts},
            card.examples(splits.train),
            found.class_names,
            title=name,
            facts=[
                "   ".join(f"{key}: {rows[key]}" for key in line)
                for line in (("examples", "images"), ("mean", "std", "duplicates"))
            ],
        )
        visualise.save(figure, folder / "card.png")
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror or error}; choose another "
            "folder with --output"
        ) from error
    print(f"written to {folder}: card.json, card.png")


def _splits(sizes: dict[str, int]) -> str:
    return ", ".join(f"{split} {size:,}" for split, size in sizes.items())


def _shape(shape: Sequence[int | None]) -> str:
    return "×".join("?" if side is None else str(side) for side in shape)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _print(content: Any) -> None:
    # Names are printed as they are, also those that look like rich's markup.
    Console(highlight=False, markup=False, emoji=False).print(content)


def _print_rows(rows: dict[str, str]) -> None:
    grid = Table(box=None, show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, value)
    _print(grid)


def _state(folder: Path) -> str:
    """Whether runs can write to a folder that may have yet to be made."""
    if folder.is_dir():
        return "writable" if os.access(folder, os.W_OK) else "not writable"
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    return "not there yet" if os.access(parent, os.W_OK) else "cannot be made"
