"""`python -m jaxvision predict`."""

import json
import sys
from pathlib import Path

import tyro

from jaxvision.commands.source import DEFAULTS, Network

SHOWN = 24
"""Pictures that are drawn."""


def predict(
    pictures: tyro.conf.Positional[tuple[str, ...]] = (),
    network: tyro.conf.OmitArgPrefixes[Network] = DEFAULTS,
    export: Path | None = None,
    dataset: str | None = None,
    json_lines: bool = False,
    output: Path | None = Path("predictions.png"),
    batch_size: int = 32,
) -> None:
    """What a trained network says of photographs: a table, and a picture.

    python -m jaxvision predict holidays/ --model resnet50 --weights default

    Args:
        pictures: Files, folders (all images in them), or quoted patterns.
        network: What predicts.
        export: A file that export --to stablehlo has written.
        dataset: Predict the test images of this data set, and measure on them.
        json_lines: Print one JSON object for each picture instead of a table.
        output: Where the pictures are drawn with what is predicted; None: nowhere.
        batch_size: Pictures that are computed together.
    """
    from jaxvision.data.files import pictures as files
    from jaxvision.data.progress import bar
    from jaxvision.engine.compilation import enable_cache
    from jaxvision.errors import UsageError, check
    from jaxvision.runs.predictor import described

    check(
        (
            bool(pictures) != (dataset is not None),
            "which pictures: name files or folders, or give --dataset",
        ),
        (batch_size >= 1, f"--batch-size must be positive, got {batch_size}"),
    )
    found = files.find(pictures)
    enable_cache()
    predictor = None
    if export is None:
        predictor, _ = network.predictor()
        prediction = predictor.prediction()
    else:
        prediction, _ = network.prediction(export)
    measured = None
    if dataset is not None and predictor is not None and not json_lines:
        # Of other classes it is refused, before anything is predicted.
        measured = predictor.pipeline(dataset, batch_size)
    if dataset is None:
        names, contents = [str(path) for path in found], list(found)
    else:
        names, contents = _of(dataset)
    unreadable: dict[int, str] = {}
    batches = bar(
        prediction.batches(contents, batch_size, unreadable.__setitem__),
        -(-len(contents) // batch_size),
        "predicting",
        least=2,
    )
    rows: list[dict] = []
    for batch in batches:
        arrays = {name: list(each) for name, each in batch.items()}
        for i in range(len(next(iter(arrays.values())))):
            place = len(rows)
            one = {name: each[i] for name, each in arrays.items()}
            rows.append(one)
            if json_lines and place not in unreadable:
                answer = {"picture": names[place], **described(prediction.show, one)}
                print(json.dumps(answer, ensure_ascii=False), flush=True)
    readable = [i for i in range(len(rows)) if i not in unreadable]
    if not json_lines and readable:
        _print_table([(names[i], rows[i]) for i in readable], prediction.show)
    if output is not None and prediction.show is not None and readable:
        _draw(output, names, contents, rows, readable, prediction)
        print(f"{output}: written", file=sys.stderr)
    if measured is not None:
        _print_metrics(predictor, measured)
    if unreadable:
        listed = "".join(f"\n  {why}" for why in unreadable.values())
        raise UsageError(
            f"{len(unreadable)} of {len(contents)} pictures could not be read:{listed}"
        )


def _of(dataset: str) -> "tuple[list[str], list]":
    """Names and contents of the test images of a data set."""
    from jaxvision import data

    source = data.load(dataset).test
    names = [f"{source.name}[{i}]" for i in range(source.size)]
    if source.encoded is not None:
        return names, [source.encoded(i) for i in range(source.size)]
    return names, list(source.read()["image"])


def _print_table(rows, show) -> None:
    from rich.table import Table
    from rich.text import Text

    from jaxvision.commands.printing import show as show_on_terminal

    table = Table(box=None)
    table.add_column("picture", overflow="fold")
    table.add_column("prediction")
    for name, prediction in rows:
        if show is not None:
            lines = list(show.words(prediction))
        else:
            lines = [f"{key} {array}" for key, array in prediction.items()]
        table.add_row(Text(name), Text("\n".join(lines)))
    show_on_terminal(table)


def _draw(output: Path, names, contents, rows, readable, prediction) -> None:
    """The first pictures, as their predictions see them."""
    from jaxvision import visualise

    first = readable[:SHOWN]
    images = prediction.preparation.images([contents[i] for i in first])
    drawn = [
        prediction.show.draw({"image": image}, rows[i])
        for image, i in zip(images, first, strict=True)
    ]
    titles = [Path(names[i]).name for i in first]
    figure = visualise.predicted_sheet(drawn, titles)
    visualise.save(figure, output)


def _print_metrics(predictor, pipeline) -> None:
    from jaxvision.commands.printing import show_rows
    from jaxvision.measures import measure_of

    measures = predictor.task.measures
    metrics = predictor.evaluate(pipeline)
    known = {measure.name for measure in measures}
    show_rows(
        {k: measure_of(k, measures).words(v) for k, v in metrics.items() if k in known}
    )
