"""The fingerprint notices every change of the data."""

import numpy as np
import pytest

from jaxvision.data.source import Source, fingerprint


def source(image, label) -> Source:
    return Source(
        "set",
        len(label),
        (2, 2, 1),
        ("0", "1"),
        lambda: {"image": image, "label": label},
    )


IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
LABEL = np.array([0, 1, 0], np.int32)


def test_same_data_has_the_same_fingerprint():
    strided = np.repeat(IMAGE, 2, axis=0)[::2]
    expected = fingerprint(source(IMAGE, LABEL))
    assert fingerprint(source(strided, LABEL.copy())) == expected
    assert len(expected) == 16
    assert set(expected) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "changed",
    [
        source(IMAGE ^ (IMAGE == 5), LABEL),
        source(IMAGE, LABEL[::-1] ^ 1),
        source(IMAGE[::-1], LABEL),
        source(IMAGE.reshape(3, 1, 4, 1), LABEL),
        source(IMAGE, LABEL.astype(np.int64)),
    ],
    ids=["pixel", "label", "order", "shape", "dtype"],
)
def test_any_change_shows(changed):
    assert fingerprint(changed) != fingerprint(source(IMAGE, LABEL))
