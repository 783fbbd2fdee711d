"""Generated images of any shape, for smoke runs, tests and benchmarks."""

import re

import numpy as np

from jaxvision.data.names import Name
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError, check

SIZES = {"train": 1_024, "test": 256}

LARGEST = 1 << 33
"""Bytes of a split or of the patterns that it is drawn from, at most: 8 GiB."""
MOST_CLASSES = 1 << 16

_N = "([0-9]{1,9})"
_FORM = re.compile(f"synthetic(?::{_N}x{_N}x{_N})?(?::{_N})?")
_GRID = 4


def load(name: Name) -> Splits:
    """The set called `synthetic[:HxWxC][:classes]`, 28x28x1 and 10 unless named.

    1,024 training and 256 test images.  Each is the mean of its class's pattern, a
    coarse chequerboard of random levels, and uniform noise of the same strength: a
    linear model learns it in a few steps.  Example i is the same wherever it is asked
    for, to the bit: integers only, from a stream that NumPy guarantees (NEP 19).
    """
    match = _FORM.fullmatch(name.text)
    numbers = [int(number) for number in match.groups() if number] if match else [0]
    if 0 in numbers:
        raise UsageError(
            f"cannot read {name.text!r}: write synthetic, synthetic:HxWxC or "
            "synthetic:HxWxC:classes with positive whole numbers, "
            "such as synthetic:32x32x3:100"
        )
    assert match
    height, width, channels, classes = (
        int(number or default)
        for number, default in zip(match.groups(), (28, 28, 1, 10), strict=True)
    )

    size = max(classes, *SIZES.values()) * height * width * channels
    check(
        (classes <= MOST_CLASSES, f"{name.text!r}: at most {MOST_CLASSES:,} classes"),
        (size <= LARGEST,
         f"{name.text!r} would take {size:,} bytes of memory: at most {LARGEST:,}"),
    )  # fmt: skip

    def source(split: str) -> Source:
        return Source(
            name=f"{name}:{split}",
            size=SIZES[split],
            image_shape=(height, width, channels),
            class_names=tuple(map(str, range(classes))),
            read=lambda: _draw(split, (height, width, channels), classes),
            choice="drawn apart from the training split" if split == "test" else "",
        )

    return Splits(train=source("train"), test=source("test"))


def _draw(
    split: str, shape: tuple[int, int, int], classes: int
) -> dict[str, np.ndarray]:
    size = SIZES[split]
    height, width, channels = shape
    labels = np.arange(size, dtype=np.int32) % classes
    levels = _random_bytes(0, (classes, _GRID, _GRID, channels))
    rows = np.arange(height) * _GRID // height
    columns = np.arange(width) * _GRID // width
    patterns = levels[:, rows][:, :, columns]
    noise = _random_bytes({"train": 1, "test": 2}[split], (size, *shape))
    return {"image": patterns[labels] // 2 + noise // 2, "label": labels}


def _random_bytes(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    words = np.random.PCG64(seed).random_raw(-(-count // 8)).astype("<u8")
    return words.view(np.uint8)[:count].reshape(shape)
