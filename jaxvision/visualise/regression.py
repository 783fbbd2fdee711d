"""How the predictions of `tasks.regression` are shown."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.recipes import SHOWS
from jaxvision.types import Galleries, Show
from jaxvision.visualise.galleries import shown


@SHOWS.recorded
def regression(
    names: Sequence[str],
    *,
    target: str | Callable[[Mapping[str, Any]], Any],
    unit: str = "",
    decimals: int = 2,
) -> Show:
    """The numbers of an image; predicted against true, and the worst beside a sample.

    `names` are those of the T numbers; `target` and `unit` are as in the task:

        show=functools.partial(visualise.regression, target="age", unit="years")
    """

    read = target if callable(target) else operator.itemgetter(target)

    def lines(numbers: np.ndarray) -> list[str]:
        return [
            f"{name}  {number:.{decimals}f} {unit}".rstrip()
            for name, number in zip(names, numbers.tolist(), strict=True)
        ]

    def words(prediction: Mapping[str, np.ndarray]) -> list[str]:
        return lines(np.asarray(prediction["numbers"]))

    def values(prediction: Mapping[str, np.ndarray]) -> dict[str, Any]:
        numbers = np.asarray(prediction["numbers"], float).tolist()
        return {"numbers": dict(zip(names, numbers, strict=True)), "unit": unit}

    def true_of(input: Mapping[str, np.ndarray]) -> np.ndarray:
        batch = {name: array[None] for name, array in input.items()}
        return np.reshape(read(batch), len(names))

    def draw(example: Mapping[str, np.ndarray], prediction) -> np.ndarray:
        from jaxvision import visualise

        return visualise.captioned(example["image"], words(prediction))

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        # Not earlier: it imports matplotlib, which training can do without.
        from jaxvision import visualise

        rows = {
            one.caption: [
                # What the task saw, since a transform may have changed the targets.
                visualise.captioned(one.example["image"], lines(true_of(one.input))),
                draw(one.example, one.prediction),
            ]
            for one in shown(galleries)
        }
        predicted, true = metrics["points"]
        return {
            "agreement.png": visualise.agreement(predicted, true, names, unit),
            "predictions.png": visualise.comparison(
                rows,
                ("true", "predicted"),
                title="The images with the largest errors, and a sample",
            ),
        }

    return Show(draw, words, figures, values)
