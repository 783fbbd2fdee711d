"""The network that a command is about: a run's, a published one, or an exported one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxvision.errors import UsageError, check
from jaxvision.files import read_object

if TYPE_CHECKING:
    from jaxvision.runs import Predictor
    from jaxvision.runs.predictor import Prediction


def predictor(
    run: Path | None,
    model: str | None,
    weights: str | None,
    which: Any,
    *,
    classes: Path | None = None,
    size: int | None = None,
    resize: int | None = None,
    method: Any = "bilinear",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> "tuple[Predictor, Mapping[str, Any]]":
    """The predictor of the options `--run` or `--model` with `--weights`, and the
    record of its run: `{"experiment": …, "test_accuracy": …, …}`.

    `classes` is a file with their names, a line each; `size` and what follows it say
    how images are prepared for weights of which that is not known.  Raises `UsageError`
    unless there is one of the two networks.
    """
    import jaxvision
    from jaxvision import pretrained
    from jaxvision.data.files import reading

    if (run is None) == (model is None):
        raise UsageError(
            "which network: give --run DIR, or --model NAME with --weights FILE"
        )
    names = None if classes is None else [n for n in reading.lines(classes) if n]
    if run is not None:
        check((weights is None, "--weights is for --model: a run has its own"))
        check((size is None, "--size is for --model: a run has its own preparation"))
        found = jaxvision.load(run, which=which, classes=names)
        file = run / "result.json"
        known = file if file.exists() else run / "config.json"
        return found, read_object(known, ["experiment"])
    assert model is not None
    check(
        (
            weights is not None,
            f'--model {model} needs --weights: a file, a hub id, or "default"',
        ),
        (which == "best", "--which is for --run: a published network has one"),
    )
    preparation = None
    if size is not None:
        preparation = pretrained.prepared(
            model, size=size, resize=resize, method=method, mean=mean, std=std
        )
    found = jaxvision.load(
        model, weights=weights, preparation=preparation, classes=names
    )
    return found, {"experiment": model}


def prediction(
    run: Path | None,
    model: str | None,
    weights: str | None,
    export: Path | None,
    which: Any,
) -> "tuple[Prediction, str]":
    """What predicts, by those options or `--export`, and what it is called."""
    from jaxvision.export import stablehlo

    if export is None:
        found, record = predictor(run, model, weights, which)
        return found.prediction(), record["experiment"]
    check((run is model is weights is None, "give --export alone, or no --export"))
    exported = stablehlo.read(export)
    return exported.prediction, exported.about.get("experiment", export.stem)
