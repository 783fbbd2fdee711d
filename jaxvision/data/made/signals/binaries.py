"""`binaries:PATH` and `binaries:installed`: binary files as grey images."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvision.data.files import reading, split_names
from jaxvision.data.made.signals import files
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.ops.byteplot import byte_image

SIDE = 64
LONGEST = 1 << 22
"""Bytes of a file that are read, from its beginning: 4 MiB."""

FAMILIES = ("scipy", "scikit-learn", "pandas", "jaxlib", "h5py", "pyarrow", "numpy")
"""The projects whose shared libraries are the classes of `binaries:installed`."""


def load(name: Name) -> Splits:
    """Images [64,64,1] of whole files, bytes as grey values, shrunk to one size.

    `binaries:PATH` is a folder of one's own files with a folder for each class, such as
    families of malware.  `binaries:installed` are the shared libraries that this
    environment has of the projects in `FAMILIES`, by project: harmless, real, and as
    different or alike as what one compiler makes of Cython, C++ and Fortran.  They are
    those of the installed versions, which the fingerprint in a record reflects.

    The width of the image is that of Nataraj et al. 2011 for the size of the file.

    Raises `UsageError` for empty files.
    """
    if name.rest != "installed":
        return files.load(name, (), (SIDE, SIDE, 1), pictures)
    found = [
        (path, label)
        for label, project in enumerate(FAMILIES)
        for path in _shared_libraries(project)
    ]
    paths, labels = map(list, zip(*found, strict=True))
    return files.splits(
        name.text,
        FAMILIES,
        [files.Labelled(paths, labels)],
        split_names.NOTHING.words,
        (SIDE, SIDE, 1),
        pictures,
    )


def pictures(paths: Sequence[Path]) -> np.ndarray:
    """uint8 [N,64,64,1]."""
    import cv2

    images = np.empty((len(paths), SIDE, SIDE, 1), np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            with reading.open_file(path) as file:
                content = np.frombuffer(file.read(LONGEST), np.uint8)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        if len(content) == 0:
            raise UsageError(f"{path} is empty: remove it")
        whole = byte_image(content)
        cv2.resize(whole, (SIDE, SIDE), image[..., 0], interpolation=cv2.INTER_AREA)
    return images


def _shared_libraries(project: str) -> list[Path]:
    try:
        listed = importlib.metadata.files(project) or []
    except importlib.metadata.PackageNotFoundError:
        listed = []
    paths = [file for file in listed if file.name.endswith(".so")]
    if len(paths) < 2:
        raise UsageError(
            f"{project} has {len(paths)} shared libraries installed, where "
            "binaries:installed needs two or more of each of "
            f"{', '.join(FAMILIES)}: write binaries:PATH for files of your own"
        )
    return sorted(Path(str(file.locate())) for file in paths)
