"""The benchmark of filters: all sides compute the same, and rows are measured."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import filters
from jaxvision.errors import UsageError

# What the others do otherwise: SciPy cuts fractions after each direction, OpenCV has
# weights of eight bits and a table of exponentials.
TOLERANCE = {"mean 9×9": 2, "gaussian 2": 2, "bilateral 7×7": 2}
# OpenCV's median repeats the pixels at the edge, where all others are mirrored.
EDGE = {("median 3×3", "opencv"): 1, ("median 5×5", "opencv"): 2}


@pytest.mark.slow
def test_all_sides_compute_the_same():
    image = filters.photograph(40, 48)
    for name, row in filters.FILTERS.items():
        ours = row.ours(jnp.asarray(image)[None, ..., None])
        ours = ours if isinstance(ours, tuple) else (ours,)
        for side in ("scipy", "opencv"):
            if side in row.others:
                theirs = row.others[side](image)
                theirs = theirs if isinstance(theirs, tuple) else (theirs,)
                for a, b in zip(ours, theirs, strict=True):
                    a, b = np.float64(a[0, ..., 0]), np.float64(b)
                    b = b > 0 if name == "canny" else b
                    edge = EDGE.get((name, side), 0)
                    away = np.abs(a - b)[
                        edge : len(a) - edge, edge : a.shape[1] - edge
                    ].max()
                    assert away <= TOLERANCE.get(name, 1e-3), (name, side, away)


def test_filters_are_measured_and_written(tmp_path):
    output = tmp_path / "filters.json"
    config = filters.Config(
        filters=("laplacian",), size=(32, 40), rounds=1, output=output
    )
    assert filters.main(config) == 0
    numbers = json.loads(output.read_text())
    assert numbers["laplacian ours_ms"] > 0 < numbers["laplacian opencv_ratio"]
    with pytest.raises(UsageError, match="filter"):
        filters.main(filters.Config(filters=("median 4×4",)))
