import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError

COUNT = np.array([0, 10, 30])
CONFIDENCE = np.array([np.nan, 0.5, 0.9])
ACCURACY = np.array([np.nan, 0.6, 0.8])


def test_bars_are_accuracy_and_gap_of_each_bin():
    figure = visualise.reliability(COUNT, CONFIDENCE, ACCURACY, 0.1)
    axis, below = figure.axes
    accuracy, gap = axis.containers
    assert [bar.get_height() for bar in accuracy] == [0, 0.6, 0.8]
    ends = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in gap]
    np.testing.assert_allclose(ends, [(0, 0), (0.6, 0.5), (0.8, 0.9)])
    assert axis.get_title(loc="left") == "expected calibration error 10.00 %"
    assert [bar.get_height() for bar in below.containers[0]] == [0, 0.25, 0.75]
    words = [text.get_text() for text in below.get_legend().get_texts()]
    assert words == ["mean confidence 80.00 %", "accuracy 75.00 %"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((COUNT, CONFIDENCE[1:], ACCURACY, 0.1), r"\[M\] each, got \(3,\), \(2,\)"),
        ((COUNT * 0, CONFIDENCE, ACCURACY, 0.1), "no examples"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        visualise.reliability(*arguments)
