"""The pictures of every classification experiment."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def classification(class_names: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """`Experiment.pictures` for `tasks.classification`: confusion and predictions."""

    def pictures(
        arrays: Mapping[str, np.ndarray],
        predictions: Mapping[str, np.ndarray],
        metrics: Mapping[str, Any],
    ) -> dict[str, Any]:
        # Not earlier: it imports matplotlib, which training can do without.
        from jaxvision import visualise

        return {
            "confusion.png": visualise.confusion(metrics["confusion"], class_names),
            "predictions.png": visualise.predictions(
                arrays["image"],
                arrays["label"],
                predictions["probabilities"],
                class_names,
            ),
        }

    return pictures
