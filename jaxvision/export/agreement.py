"""Whether an export computes what the original does."""

from collections.abc import Mapping

import numpy as np

from jaxvision.errors import UsageError

Arrays = Mapping[str, np.ndarray]


def differences(expected: Arrays, found: Arrays) -> dict[str, float]:
    """How far arrays of the same names are apart, by name.

    Of floating-point numbers, the largest difference over the largest magnitude that is
    expected; of whole ones, such as classes of pixels, the share that differs.
    Infinite where the names, shapes or finite places do.
    """
    return {
        name: _difference(np.asarray(expected[name]), np.asarray(found[name]))
        if name in expected and name in found
        else np.inf
        for name in {**expected, **found}
    }


def check(found: Mapping[str, float], tolerance: float) -> None:
    """Raises `UsageError` if one of the `differences` is above the tolerance."""
    worst = max(found, key=lambda name: found[name])
    if not found[worst] <= tolerance:
        raise UsageError(
            f"the export computes another {worst} than the original: they differ by "
            f"{found[worst]:.1e}, more than --tolerance {tolerance:g}, so nothing was "
            "written. Networks in half precision, and accelerators, differ by about "
            "1e-2; for others this is a fault to be reported"
        )


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    if expected.shape != found.shape:
        return np.inf
    if not np.issubdtype(expected.dtype, np.floating) and expected.dtype.kind != "V":
        return float(np.mean(expected != found))
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return np.inf
    expected, found = expected[finite], found[finite]
    largest = np.max(np.abs(expected), initial=0)
    apart = np.max(np.abs(expected - found), initial=0)
    return float(apart / largest) if largest else float(apart)
