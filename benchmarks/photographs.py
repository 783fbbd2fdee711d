"""A folder of JPEG files as training images: what the benchmarks of loading read."""

import itertools
from pathlib import Path

import numpy as np

from jaxvision.data.source import Source
from jaxvision.errors import check

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet's images, whose values are from 0 to 1."""


def find(folder: Path) -> list[Path]:
    """The JPEG files in the folder and all below it, in order.

    Raises `UsageError` when there are none.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")
    )
    check((len(files) > 0, f"no .jpg or .jpeg below {folder}: choose another folder"))
    return files


def repeat(files: list[Path], size: int) -> list[Path]:
    """The first `size` of the files, which start again at their end."""
    return list(itertools.islice(itertools.cycle(files), size))


def source(files: list[Path]) -> Source:
    """The files as images of one class, decoded when they are needed."""
    return Source(
        name="photos",
        size=len(files),
        image_shape=(None, None, 3),
        class_names=("photo",),
        read=dict,
        targets=lambda: {"label": np.zeros(len(files), np.int32)},
        encoded=lambda i: files[i].read_bytes(),
    )
