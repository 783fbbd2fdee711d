"""What the estimators take as images: arrays of pixels, or paths of files."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from jaxvision.data.feed.preparation import Picture
from jaxvision.data.files import decoding
from jaxvision.data.files.decoding import DecodeError
from jaxvision.data.files.problems import listed
from jaxvision.errors import UsageError

Images = np.ndarray | list[str]
"""Pixels [N,H,W,C], uint8 or float32, or the paths of N files."""

EXPECTED = "images are arrays [N,H,W] or [N,H,W,C], or a list of paths"


def of_rows(estimator: Any, X: Any, shape: Sequence[int], *, reset: bool) -> np.ndarray:
    """Flattened images [N,F] as pixels [N,H,W,C].

    shape: (H, W) or (H, W, C), where one of them may be -1: what is left.
    reset: whether the number and names of the columns are new, or to be as before.
    """
    rows = validate_data(estimator, X, reset=reset, dtype=[np.float32, np.uint8])
    try:
        pixels = rows.reshape(len(rows), *shape)
    except ValueError as error:
        raise UsageError(
            f"{rows.shape[1]} columns are no image of image_shape={tuple(shape)}"
        ) from error
    return pixels if pixels.ndim == 4 else pixels[..., None]


def of_arrays(estimator: Any, X: Any) -> np.ndarray:
    """Images as pixels [N,H,W,C].

    Raises `UsageError` where they differ in size or dtype or are no images, and what
    scikit-learn raises where values are missing or infinite.
    """
    if isinstance(X, Sequence) and len(X) and isinstance(X[0], np.ndarray):
        kinds = Counter(f"{x.dtype} {list(x.shape)}" for x in X)
        if len(kinds) > 1:
            found = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(5))
            raise UsageError(
                f"images must have one size and dtype, got {found}: resize them, or "
                "give the paths of their files"
            )
    pixels = check_array(
        X,
        dtype=[np.float32, np.uint8],
        ensure_2d=False,
        allow_nd=True,
        estimator=estimator,
        input_name="X",
    )
    if pixels.ndim == 2:
        raise UsageError(
            f"X is {list(pixels.shape)}, and {EXPECTED}: for flattened ones give "
            "image_shape=(H, W) or (H, W, C)"
        )
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise UsageError(f"X is {list(np.shape(X))}, and {EXPECTED}")
    if pixels.shape[1] in (1, 3) and pixels.shape[3] not in (1, 2, 3, 4):
        raise UsageError(
            f"X is {list(pixels.shape)}, channels first: give numpy.moveaxis(X, 1, -1)"
        )
    return pixels


def paths_of(X: Any) -> list[str] | None:
    """The paths, if it is a list, an array or a column of paths; else None.

    Raises one `UsageError` that names all files that are no images.
    """
    if isinstance(X, str | os.PathLike):
        raise UsageError(f"X is the path {os.fspath(X)!r}: give a list, [path]")
    if not isinstance(X, list | tuple) and np.ndim(X) != 1:
        return None
    items = list(X)
    if not items or not all(isinstance(item, str | os.PathLike) for item in items):
        return None
    paths = [os.fspath(item) for item in items]
    _check_files(paths)
    return paths


def pictures(estimator: Any, X: Any) -> list[Picture]:
    """Images as paths or bytes [H,W,C], which may differ in size.

    Raises `UsageError` for numbers that are not from 0 to 1, and as the others do.
    """
    paths = paths_of(X)
    if paths is not None:
        return [*paths]
    if isinstance(X, Sequence) and all(isinstance(x, np.ndarray) for x in X):
        return [picture for x in X for picture in _bytes(of_arrays(estimator, x[None]))]
    return [*_bytes(of_arrays(estimator, X))]


def _bytes(pixels: np.ndarray) -> np.ndarray:
    check_range(pixels, "a trained network expects images")
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(255 * pixels).astype(np.uint8)


Shape = tuple[int, int, int]


def kind(found: Images) -> tuple[Shape | None, str]:
    """(H, W, C), None of files, and the dtype."""
    if isinstance(found, list):
        return None, "uint8"
    _, *shape = found.shape
    return (shape[0], shape[1], shape[2]), found.dtype.name


def words(shape: Shape | None, dtype: str) -> str:
    """What `kind` returns, in words."""
    size = "files" if shape is None else "×".join(map(str, shape))
    return size if shape is None else f"{dtype} images of {size}"


def check_range(found: Images, who: str) -> None:
    """Raises `UsageError` for numbers that are not from 0 to 1."""
    if isinstance(found, np.ndarray) and found.dtype != np.uint8:
        low, high = found.min(), found.max()
        if low < 0 or high > 1:
            raise UsageError(
                f"X has values from {low:.4g} to {high:.4g}, and {who} from 0 to 1: "
                "divide them, or give bytes (uint8)"
            )


def _check_files(paths: Sequence[str]) -> None:

    def look(path: str) -> str | None:
        try:
            decoding.inspect(path)
        except DecodeError as error:
            return f"{path}: {error}"
        except OSError as error:
            return f"{path}: {error.strerror or error}"
        return None

    with ThreadPoolExecutor() as pool:
        problems = [problem for problem in pool.map(look, paths) if problem]
    if problems:
        raise UsageError(f"{len(problems)} files cannot be read:{listed(problems)}")
