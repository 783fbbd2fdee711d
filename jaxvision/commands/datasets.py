"""`python -m jaxvision datasets`: the list, or the card of one."""

import json
from functools import cache
from pathlib import Path

import tyro
from rich.table import Table

from jaxvision import files
from jaxvision.commands.printing import file_name, shape_in_words, show, show_rows
from jaxvision.errors import UsageError


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
        _list(data_dir)
    else:
        folder = output or Path("runs", "datasets", file_name(name))
        _card(name, data_dir, folder)


def _list(data_dir: str | None) -> None:
    from rich.columns import Columns

    from jaxvision.data import catalogue, registry
    from jaxvision.data.tfds import source as tfds_source

    print("Built in, no download:")
    table = Table(box=None, show_header=False, pad_edge=True)
    for name, splits in catalogue.built_in().items():
        table.add_row(
            name,
            _splits({part: split.size for part, split in splits.there().items()}),
            shape_in_words(splits.train.image_shape),
            registry.origin(name),
        )
    show(table)

    folder = tfds_source.data_folder(data_dir)
    print(f"\nPrepared in {folder}:")
    table = Table(box=None, show_header=False, pad_edge=True)
    for found in catalogue.prepared(folder):
        sizes = _splits(found.splits) or "its dataset_info.json cannot be read"
        table.add_row(found.name, sizes, _megabytes(found.size))
    show(table if table.row_count else "  none yet")

    print(
        "\nOf TensorFlow Datasets, downloaded and prepared on first use; some may\n"
        "need TensorFlow for that, and say so:"
    )
    offered = [
        f" {name} {shape_in_words(shape)}"
        for name, shape in tfds_source.offered().items()
    ]
    show(Columns(offered, padding=(0, 2), column_first=True))
    forms, packaged = catalogue.own()
    print(
        f"\nTheir variants, such as emnist/letters: {catalogue.ONLINE}\n"
        f"Your own data:        {', '.join(forms)}\n"
        f"In Python packages:   {', '.join(packaged)}\n"
        "To prepare one now:   python -m jaxvision prepare NAME\n"
        "To see what it holds: python -m jaxvision datasets NAME"
    )


def _card(name: str, data_dir: str | None, folder: Path) -> None:
    from jaxvision import visualise
    from jaxvision.data import card, registry

    loaded = registry.load(name, data_dir=data_dir)
    # Read once, for the numbers and for the examples.
    splits = loaded.each(lambda split: split._replace(read=cache(split.read)))
    found = card.card(name, splits)
    origin = registry.origin(name, data_dir)
    rows = card.rows(found)
    show_rows({"data set": name, "from": origin} | rows)

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


def _splits(sizes: dict[str, int]) -> str:
    return ", ".join(f"{split} {size:,}" for split, size in sizes.items())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
