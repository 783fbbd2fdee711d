"""The network that a command is about: a run's, a published one, or an exported one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxvision.errors import UsageError, check
from jaxvision.files import read_object

if TYPE_CHECKING:
    from jaxvision.runs import Predictor
    from jaxvision.runs.predictor import Prediction


@dataclass(frozen=True)
class Network:
    """The options that name it, for all commands."""

    run: Path | None = None
    """A run directory, or a folder that export --to safetensors has written."""
    which: Literal["best", "last", "average"] = "best"
    """The parameters of a run's best checkpoint, the last, or the averaged."""
    model: str | None = None
    """The name of a published network, with --weights."""
    weights: str | None = None
    """Its weights: a file, a hub id or "default"."""
    classes: Path | None = None
    """A file with the names of the classes, one in each line."""
    size: int | None = None
    """Side of the square that is cut out of an image, for weights of which it is not
    known."""
    resize: int | None = None
    """The shorter side to which images are resized before; by default --size."""
    method: Literal["bilinear", "bicubic"] = "bilinear"
    """How they are resized, for such weights."""
    mean: tuple[float, ...] = ()
    """Of each channel, for pixels from 0 to 1; by default the model's usual one."""
    std: tuple[float, ...] = ()
    """The deviations of the channels."""

    def predictor(self) -> "tuple[Predictor, Mapping[str, Any]]":
        """The predictor, and the record of its run: `{"experiment": …, "seed": …, …}`.

        Raises `UsageError` unless there is a run or a published network.
        """
        import jaxvision
        from jaxvision import pretrained
        from jaxvision.data.files import reading
        from jaxvision.runs import weights_folder

        run, model, weights = self.run, self.model, self.weights
        if (run is None) == (model is None):
            raise UsageError(
                "which network: give --run DIR, or --model NAME with --weights FILE"
            )
        classes = self.classes and [n for n in reading.lines(self.classes) if n]
        if run is not None:
            check(
                (weights is None, "--weights is for --model: a run has its own"),
                (
                    self.size is None,
                    "--size is for --model: a run has its own preparation",
                ),
            )
            found = jaxvision.load(run, which=self.which, classes=classes)
            if weights_folder.is_one(run):
                return found, weights_folder.about(run)
            file = run / "result.json"
            known = file if file.exists() else run / "config.json"
            return found, read_object(known, ["experiment"])
        assert model is not None
        check(
            (
                weights is not None,
                f'--model {model} needs --weights: a file, a hub id, or "default"',
            ),
            (
                self.which == "best",
                "--which is for --run: a published network has one",
            ),
        )
        preparation = None
        if self.size is not None:
            preparation = pretrained.prepared(
                model,
                size=self.size,
                resize=self.resize,
                method=self.method,
                mean=self.mean,
                std=self.std,
            )
        found = jaxvision.load(
            model, weights=weights, preparation=preparation, classes=classes
        )
        return found, {"experiment": model}

    def prediction(self, export: Path | None) -> "tuple[Prediction, str]":
        """What predicts, by these options or in an exported file, and its name."""
        from jaxvision.export import stablehlo

        if export is None:
            found, record = self.predictor()
            return found.prediction(), record["experiment"]
        check((self == DEFAULTS, "give --export alone, or no --export"))
        exported = stablehlo.read(export)
        return exported.prediction, exported.about.get("experiment", export.stem)


DEFAULTS = Network()
"""The options before any is given."""
