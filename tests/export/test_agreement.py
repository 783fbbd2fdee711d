import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.export import agreement


@pytest.mark.parametrize(
    "expected, found, difference",
    [
        ([1.0, -4.0], [1.0, -4.0], 0),
        ([1.0, -4.0], [1.0, -3.0], 0.25),
        ([0.0, 0.0], [0.0, 0.5], 0.5),
        ([1.0, np.inf], [1.0, np.inf], 0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0, 2.0], [[1.0, 2.0]], np.inf),
        ([1, 2, 3, 4], [1, 2, 9, 4], 0.25),
    ],
)
def test_differences_are_relative_to_the_largest_value(expected, found, difference):
    apart = agreement.differences({"x": np.array(expected)}, {"x": np.array(found)})
    assert apart == {"x": pytest.approx(difference)}


@pytest.mark.parametrize("found", [{}, {"x": np.ones(1), "y": np.ones(1)}])
def test_other_names_do_not_agree(found):
    assert max(agreement.differences({"x": np.ones(1)}, found).values()) == np.inf


def test_the_worst_is_named():
    agreement.check({"x": 1e-5, "y": 1e-6}, 1e-4)
    for worst in (1e-3, np.inf):
        with pytest.raises(UsageError, match="another x than the original"):
            agreement.check({"y": 1e-6, "x": worst}, 1e-4)
