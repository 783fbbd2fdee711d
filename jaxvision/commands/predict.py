"""`python -m jaxvision predict`."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
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
    save: Path | None = None,
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
        save: A folder for what is predicted of each picture at its own size, such as
            masks of class numbers with a palette, or boxes as COCO has them; the
            pictures are then computed one by one.
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
    if save is None:
        each = _one_by_one(
            prediction.batches(contents, batch_size, unreadable.__setitem__)
        )
    else:
        each = _saved(save, names, contents, prediction, unreadable)
    table: list[tuple[str, list[str]]] = []
    drawn: list[tuple[int, dict]] = []
    for i, one in enumerate(bar(each, len(contents), "predicting", least=2)):
        if i in unreadable:
            continue
        if json_lines:
            answer = {"picture": names[i], **described(prediction.show, one)}
            print(json.dumps(answer, ensure_ascii=False), flush=True)
        else:
            table.append((names[i], _lines(one, prediction.show)))
        if len(drawn) < SHOWN:
            drawn.append((i, one))
    if table:
        _print_table(table)
    if output is not None and prediction.show is not None and drawn:
        _draw(output, names, contents, drawn, prediction, whole=save is not None)
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


def _one_by_one(batches) -> Iterator[dict]:
    """The predictions of each picture, of those of batches."""
    for batch in batches:
        for i in range(len(next(iter(batch.values())))):
            yield {name: each[i] for name, each in batch.items()}


def _saved(
    folder: Path, names, contents, prediction, unreadable: dict[int, str]
) -> Iterator[dict]:
    """The same at the size of each picture, whose files are written on the way."""
    from jaxvision.errors import check
    from jaxvision.types import Pictured

    stems = [Path(name).stem for name in names]
    twice = sorted(stem for stem, count in Counter(stems).items() if count > 1)
    check(
        (
            prediction.show is not None and prediction.show.files is not None,
            "--save: what this network predicts has no files of its own: take "
            "--json-lines, which says it in words",
        ),
        (
            not twice,
            f"--save: several pictures are called {', '.join(twice[:5])}, and their "
            "files would be, too: predict one folder after the other",
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    show, pictured = prediction.show, []
    for i, content in enumerate(contents):
        one = prediction.at_full_size(content, i, unreadable.__setitem__)
        if one:
            picture = {"image": _pixels(content, prediction.preparation.channels)}
            if show.together is not None:
                size = picture["image"].shape[:2]
                pictured.append(Pictured(Path(names[i]).name, size, one))
            _write(folder, stems[i], show.files(picture, one))
        yield one
    if show.together is not None:
        _write(folder, "", show.together(pictured))


def _write(folder: Path, stem: str, files: Mapping[str, bytes]) -> None:
    """Each file whole or not at all."""
    from jaxvision.files import replacing

    for ending, content in files.items():
        with replacing(folder / f"{stem}{ending}") as partial:
            partial.write_bytes(content)


def _pixels(content, channels: int):
    """A picture as it is, uint8 [H,W,C]."""
    import numpy as np

    from jaxvision.data.files import decoding, reading

    if isinstance(content, np.ndarray):
        return content
    whole = content if isinstance(content, bytes) else reading.read_bytes(content)
    return decoding.decode(whole, channels)


def _lines(prediction, show) -> list[str]:
    if show is not None:
        return list(show.words(prediction))
    return [f"{key} {array}" for key, array in prediction.items()]


def _print_table(rows: list[tuple[str, list[str]]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from jaxvision.commands.printing import show as show_on_terminal

    table = Table(box=None)
    table.add_column("picture", overflow="fold")
    table.add_column("prediction")
    for name, lines in rows:
        table.add_row(Text(name), Text("\n".join(lines)))
    show_on_terminal(table)


def _draw(output: Path, names, contents, first, prediction, *, whole: bool) -> None:
    """Pictures, as their predictions see them: whole, or as they were prepared."""
    from jaxvision import visualise

    preparation = prediction.preparation
    if whole:
        images = [_pixels(contents[i], preparation.channels) for i, _ in first]
    else:
        images = list(preparation.images([contents[i] for i, _ in first]))
    drawn = [
        prediction.show.draw({"image": image}, one)
        for image, (_, one) in zip(images, first, strict=True)
    ]
    titles = [Path(names[i]).name for i, _ in first]
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
