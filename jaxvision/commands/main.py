"""`python -m jaxvision models | datasets | augment | quality | table | publish | …`.

One function for each command: its signature is the command line, its docstring the
help.  What a command needs is imported inside it, so that `--help` answers at once.
"""

import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxvision import files
from jaxvision.errors import UsageError, unknown
from jaxvision.runs import tables

EXIT_USAGE = 2


def models(pattern: tyro.conf.Positional[str | None] = None) -> None:
    """List the models with what they cost and see, or the layers of one.

    Sees: pixels along a side that a position of the last map depends on. Weights:
    whose files can be read; a star marks those that can be downloaded.

    Args:
        pattern: A name, whose layers are listed, or a part of names or a pattern with
            `*` that says which models are. Default: all.
    """
    from jaxvision.commands import model_table

    names = model_table.matching(pattern)
    if pattern in names:
        model_table.show(model_table.layer_table(pattern))
    else:
        model_table.show(model_table.overview(names))


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
        folder = output or Path("runs", "datasets", _file_name(name))
        _show_card(name, data_dir, folder)


def quality(
    dataset: str,
    labels: str | None = None,
    folds: int = 5,
    options: str = "",
    output: Path | None = None,
) -> None:
    """Look for copies, odd images and wrong labels in a data set; write a report.

    Args:
        dataset: As in `--dataset` of the experiments.
        labels: An experiment, such as experiments.mnist_lenet5, that is trained once
            for each fold to find labels that are likely wrong. Default: do not.
        folds: Into how many parts the training split is cut for that.
        options: Of that experiment, as one word: --options="--epochs 2 --seed 1".
        output: The folder of report.html, exclusions.txt and the pictures. Folds that
            are finished there are not trained again. Default: runs/quality/DATASET.
    """
    from jaxvision.quality import report

    found = report.make(
        dataset,
        output := output or Path("runs", "quality", _file_name(dataset)),
        experiment=labels,
        folds=folds,
        options=shlex.split(options),
        command=sys.argv[1:],
    )
    _print_rows(report.summary(found) or {"nothing": "found"})
    print(f"written to {output}: report.html, report.json, exclusions.txt, pictures")


def augment(
    dataset: str,
    columns: int = 3,
    size: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    output: Path | None = None,
) -> None:
    """Draw a page of every augmentation at several strengths, on images of a set.

    Args:
        dataset: As in `--dataset` of the experiments. Masks, boxes and keypoints are
            drawn where it has them.
        columns: How many of its images are shown.
        size: Images are cropped and resized to a square of so many pixels. Default: as
            they are, where all have one size, else 224.
        seed: Of the random draws.
        data_dir: Where data sets are kept. Default: the environment's TFDS_DATA_DIR,
            else ~/tensorflow_datasets.
        output: The picture. Default: runs/augment/DATASET.png.
    """
    import jax
    import numpy as np

    from jaxvision import visualise
    from jaxvision.data import card, registry
    from jaxvision.ops.augment import gallery

    if columns < 1 or (size is not None and size < 16):
        raise UsageError(
            f"columns must be positive and size at least 16, got {columns} and {size}"
        )
    train = registry.load(dataset, data_dir=data_dir).train
    names = train.class_names
    of_each = -(-columns // len(names))
    examples = card.examples(train, rows=columns, columns=of_each).values()
    every = [example for few in examples for example in few]
    batch = gallery.together(every[:columns], size)

    def drawn(batch):
        count = len(batch["image"])
        rows = [{key: array[i] for key, array in batch.items()} for i in range(count)]
        return [visualise.overlay(row, names) for row in rows]

    pages = {"as it is": {"": drawn({k: np.asarray(v) for k, v in batch.items()})}}
    shown = gallery.gallery(batch, len(names))
    for name, transform in shown.items():
        results = gallery.show(transform, jax.random.key(seed), batch)
        pages[name] = {word: drawn(result) for word, result in results.items()}
    path = output or Path("runs", "augment", f"{_file_name(dataset)}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        title = f"Augmentation of {dataset}"
        visualise.save(visualise.augmentations(pages, title=title), path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; choose another --output"
        ) from error
    print(f"{path}: {len(shown)} transforms of {len(batch['image'])} images")


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
    tag: str | None = None,
    records: Path = Path(tables.RECORDS),
) -> None:
    """Copy the record of a finished run to where the results table finds it.

    Args:
        run_dir: The run directory, which holds result.json.
        tag: Tells this config from others of the same experiment and data set.
            Default: nothing for the first of them, a short hash for the others.
        records: The folder of the published records.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = tables.publish(run_dir, records, tag=tag)
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


def launch(processes: int, devices: int | None = None) -> Callable[[list[str]], None]:
    """Run the processes of one run on this machine: launch --processes 2 -m MODULE ….

    What follows -m is the command of each of them.

    Args:
        processes: How many.
        devices: CPU devices of each, to try things out. Default: what JAX finds.
    """
    from jaxvision.runs.launch import launch

    return lambda passed: sys.exit(launch(passed, processes, devices))


def sweep(
    experiment: tyro.conf.Positional[str],
    seeds: int = 1,
    grid: tuple[str, ...] = (),
    workdir: Path | None = None,
    vmap_seeds: bool = False,
) -> Callable[[list[str]], None]:
    """Run an experiment for several seeds and values; continues what was begun.

    What follows -- are options of every run: sweep MODULE --seeds 5 -- --epochs 3.

    Args:
        experiment: Its module, such as experiments.mnist_lenet5.
        seeds: Runs with the seeds 0, 1, … for each point of the grid.
        grid: Such as peak_lr=1e-3,2e-3 batch_size=64,128: all combinations.
        workdir: Holds a run directory for each run, and sweep.json with all results.
            Default: runs/sweeps/EXPERIMENT.
        vmap_seeds: Train the seeds of a point in one process, in lockstep: on an
            accelerator as one program, which pays where one small model leaves it idle.
    """
    from jaxvision.runs.sweep import sweep

    def begin(passed: list[str]) -> None:
        sweep(experiment, seeds, grid, workdir, passed, vmap_seeds=vmap_seeds)

    return begin


def doctor() -> Callable[[list[str]], None]:
    """Show what a run would find here; doctor MODULE … shows what it would do.

    Without a module: versions, devices, folders, data sets, git. With one, and with
    the options of a run: its config, data, mesh, parameters, memory and operations.
    """
    return _doctor


def _doctor(passed: list[str]) -> None:
    if passed:
        import runpy

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
    _print_rows(rows)


COMMANDS: dict[str, Callable[..., Any]] = {
    "models": models,
    "datasets": datasets,
    "augment": augment,
    "quality": quality,
    "table": table,
    "publish": publish,
    "prepare": prepare,
    "doctor": doctor,
    "launch": launch,
    "sweep": sweep,
}
PASSED_ON = {
    "doctor": lambda word: not word.startswith("-"),
    "launch": lambda word: word == "-m",
    "sweep": lambda word: word == "--",
}
"""Commands that are about another one, and the word at which that one begins.  They
return a function of its words."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.  A mistake of the user ends with one message and code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments, passed = _split(arguments)
    try:
        if (
            arguments
            and not arguments[0].startswith("-")
            and arguments[0] not in COMMANDS
        ):
            raise unknown("command", arguments[0], COMMANDS)
        then = tyro.extras.subcommand_cli_from_dict(
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
        if then is not None:
            then(passed)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The words of the command, and those that it passes on."""
    begins = PASSED_ON.get(arguments[0]) if arguments else None
    if begins is not None:
        for i, word in enumerate(arguments[1:], start=1):
            if begins(word):
                return arguments[:i], arguments[i + (word == "--") :]
    return arguments, []


def _list_datasets(data_dir: str | None) -> None:
    from rich.columns import Columns

    from jaxvision.data import catalogue, registry
    from jaxvision.data.tfds import source as tfds_source

    print("Built in, no download:")
    table = Table(box=None, show_header=False, pad_edge=True)
    for name, splits in catalogue.built_in().items():
        table.add_row(
            name,
            _splits({part: split.size for part, split in splits._asdict().items()}),
            _shape(splits.train.image_shape),
            registry.origin(name),
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
    forms, packaged = catalogue.own()
    print(
        f"\nTheir variants, such as emnist/letters: {catalogue.ONLINE}\n"
        f"Your own data:        {', '.join(forms)}\n"
        f"In Python packages:   {', '.join(packaged)}\n"
        "To prepare one now:   python -m jaxvision prepare NAME\n"
        "To see what it holds: python -m jaxvision datasets NAME"
    )


def _show_card(name: str, data_dir: str | None, folder: Path) -> None:
    from jaxvision import visualise
    from jaxvision.data import card, registry
    from jaxvision.data.source import Splits

    loaded = registry.load(name, data_dir=data_dir)
    # Read once, for the numbers and for the examples.
    splits = Splits(*(split._replace(read=cache(split.read)) for split in loaded))
    found = card.card(name, splits)
    origin = registry.origin(name, data_dir)
    rows = card.rows(found)
    _print_rows({"data set": name, "from": origin} | rows)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"origin": origin} | card.record(found)
        files.replace_text(folder / "card.json", json.dumps(content, indent=2) + "\n")
        unit, counts = card.balance(found)
        drawn = not {"label"} >= {*found.annotations}
        figure = visualise.card(
            counts,
            {
                k: [visualise.overlay(one, found.class_names) for one in examples]
                for k, examples in card.examples(
                    splits.train, columns=5 if drawn else 10
                ).items()
            },
            found.class_names,
            title=name,
            facts=[
                "   ".join(f"{key}: {rows[key]}" for key in line if key in rows)
                for line in (
                    ("examples", "images"),
                    ("in an image", "duplicates")
                    if drawn
                    else ("mean", "std", "duplicates"),
                )
            ],
            unit=unit,
            image_size=1.6 if drawn else 0.72,  # inches
            colours=[visualise.class_colour(k) for k in range(len(found.class_names))]
            if {"boxes", "segmentation"} & {*found.annotations}
            else (),
        )
        visualise.save(figure, folder / "card.png")
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror or error}; choose another "
            "folder with --output"
        ) from error
    print(f"written to {folder}: card.json, card.png")


def _file_name(dataset: str) -> str:
    return re.sub(r"[^\w.-]+", "_", dataset)


def _splits(sizes: dict[str, int]) -> str:
    return ", ".join(f"{split} {size:,}" for split, size in sizes.items())


def _shape(shape: Sequence[int | None]) -> str:
    if None in shape[:2]:
        return f"any size×{shape[-1]}"
    return "×".join(map(str, shape))


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
