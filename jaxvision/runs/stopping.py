"""Ending a run whose validation does not get better any more."""

import math
from collections.abc import Callable

from jaxvision.errors import check
from jaxvision.types import Moment, Stop


def early_stopping(
    patience: int, *, min_delta: float = 0.0
) -> Callable[[Moment], Stop | None]:
    """A hook for `Experiment.on_evaluation`, see Prechelt 1998, UP
    (https://doi.org/10.1007/3-540-49430-8_3).

    It stops when the monitored metric has not become better than its best value by more
    than `min_delta`, in the metric's own unit, for `patience` validations.  It keeps no
    state: it looks at all validations of the run, which are in its checkpoints.
    """
    check(
        (patience >= 1, f"patience must be at least 1 validation, got {patience}"),
        (min_delta >= 0, f"min_delta must not be negative, got {min_delta}"),
    )

    def hook(moment: Moment) -> Stop | None:
        measure = moment.monitored
        sign = -1 if measure.better == "lower" else 1
        best, since = -math.inf, 0
        for row in moment.history:
            value = row[measure.name]
            if value is not None and sign * value > best + min_delta:
                best, since = sign * value, 0
            else:
                since += 1
        if since < patience:
            return None
        found = measure.words(sign * best) if math.isfinite(best) else "no number"
        return Stop(
            f"no better {measure.name} than {found} in {since} "
            f"validation{'s' if since > 1 else ''}"
        )

    return hook
