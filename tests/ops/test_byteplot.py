"""Bytes as pixels: of a real program, in order, in the paper's widths."""

import sys
from pathlib import Path

import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops.byteplot import byte_image, width_for


def test_a_program_can_be_read_back_from_its_image():
    from numpy._core import _multiarray_umath

    content = Path(_multiarray_umath.__file__).read_bytes()  # a shared library
    image = byte_image(np.frombuffer(content, np.uint8))
    assert image.dtype == np.uint8
    assert image.shape == (-(-len(content) // 1024), 1024)  # it has megabytes
    flat = image.tobytes()
    assert flat[: len(content)] == content
    assert not any(flat[len(content) :])
    if sys.platform == "linux":
        assert bytes(image[0, :4]) == b"\x7fELF"


@pytest.mark.parametrize(
    ("kilobytes", "width"),
    [(0.001, 32), (9.99, 32), (10, 64), (29, 64), (30, 128), (60, 256), (99, 256),
     (100, 384), (200, 512), (499, 512), (500, 768), (999, 768), (1000, 1024),
     (50_000, 1024)],
)  # fmt: skip
def test_widths_are_those_of_table_1(kilobytes, width):
    assert width_for(int(kilobytes * 1024)) == width


def test_the_last_row_is_filled_up_and_no_other_added():
    content = np.arange(1, 13, dtype=np.uint8)
    wanted = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 0, 0, 0]]
    assert byte_image(content, 5).tolist() == wanted
    assert byte_image(content, 6).shape == (2, 6)
    assert byte_image(content, 100).shape == (1, 100)


@pytest.mark.parametrize(
    ("content", "width", "message"),
    [
        (np.zeros(0, np.uint8), None, "the file is empty"),
        (np.zeros(4, np.int8), None, "got int8"),
        (np.zeros((2, 2), np.uint8), None, r"\[2, 2\]"),
        (np.zeros(4, np.uint8), 0, "width must be positive, got 0"),
    ],
)
def test_bad_input(content, width, message):
    with pytest.raises(UsageError, match=message):
        byte_image(content, width)
