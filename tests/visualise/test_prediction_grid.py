import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxvision import visualise
from jaxvision.errors import UsageError

NAMES = ["zero", "one", "two"]
LABELS = np.array([0, 1, 2, 0, 1])
PROBABILITIES = np.array(
    [
        [0.60, 0.30, 0.10],  # right, least sure
        [0.70, 0.20, 0.10],  # wrong
        [0.00, 0.001, 0.999],  # right, surest
        [0.00, 0.95, 0.05],  # wrong, surest
        [0.10, 0.80, 0.10],  # right
    ]
)


def images(channels=1):
    """Image i is filled with the value i."""
    values = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    return np.broadcast_to(values, (5, 4, 4, channels))


def order(figure):
    return [int(axis.images[0].get_array().max()) for axis in figure.axes]


def words(axis):
    return [text.get_text() for text in axis.texts]


@pytest.mark.parametrize("channels", [1, 3])
def test_surest_mistakes_come_first_then_least_sure_correct_ones(channels):
    figure = visualise.predictions(images(channels), LABELS, PROBABILITIES, NAMES)
    assert order(figure) == [3, 1, 0, 4, 2]
    assert "2 mistakes in 5 images" in [text.get_text() for text in figure.texts]


def test_cells_are_filled_in_order():
    figure = visualise.predictions(
        images(), LABELS, PROBABILITIES, NAMES, rows=1, columns=3
    )
    assert order(figure) == [3, 1, 0]


@pytest.mark.parametrize(("columns", "grid"), [(2, (3, 2)), (3, (2, 3)), (8, (1, 5))])
def test_cells_stand_in_rows_within_the_figure(columns, grid):
    figure = visualise.predictions(
        images(), LABELS, PROBABILITIES, NAMES, columns=columns
    )
    boxes = [axis.get_position() for axis in figure.axes]
    assert (len({box.y0 for box in boxes}), len({box.x0 for box in boxes})) == grid
    assert min(box.y0 for box in boxes) > 0 and max(box.y1 for box in boxes) < 1


def test_each_image_states_prediction_truth_and_probabilities():
    figure = visualise.predictions(images(), LABELS, PROBABILITIES, NAMES)
    assert words(figure.axes[0]) == ["✗ one", "95 %", "true zero", "<1 %"]
    assert words(figure.axes[-1]) == ["✓ two", ">99 %", "true two", ">99 %"]


def test_mistakes_look_different():
    figure = visualise.predictions(images(), LABELS, PROBABILITIES, NAMES)
    frames = [to_hex(axis.spines["left"].get_edgecolor()) for axis in figure.axes]
    assert len({*frames[:2]}) == len({*frames[2:]}) == 1
    assert frames[0] != frames[2]


def test_grey_values_are_not_stretched():
    figure = visualise.predictions(images(), LABELS, PROBABILITIES, NAMES)
    assert all(axis.images[0].get_clim() == (0, 255) for axis in figure.axes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": images() / 255}, "must be uint8"),
        ({"images": images(2)}, r"\[N,H,W,1 or 3\], got uint8 \(5, 4, 4, 2\)"),
        ({"images": images()[:0]}, "no images"),
        ({"labels": LABELS[:4]}, r"labels must be \[5\]"),
        ({"labels": LABELS + 1}, r"labels must be in 0\.\.2"),
        ({"class_names": NAMES[:2]}, r"probabilities must be \[5,2\]"),
        ({"rows": 0}, "must be positive"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {
        "images": images(),
        "labels": LABELS,
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
    }
    with pytest.raises(UsageError, match=message):
        visualise.predictions(**(arguments | change))
