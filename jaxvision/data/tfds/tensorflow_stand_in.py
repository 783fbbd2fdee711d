"""A replacement for what TensorFlow Datasets (TFDS) uses of TensorFlow to prepare sets.

TFDS downloads, unpacks, shuffles and writes in Python, but opens files through
`tf.io.gfile` and encodes pixels through `tf.image.encode_png`.  The standard library
and Pillow answer here, so that most sets are prepared without TensorFlow's 2 GB.
"""

import contextlib
import glob
import io
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from jaxvision.errors import UsageError

TESTED_WITH = ("4.9.10",)
"""The versions of TFDS that the private names below were tested with."""


@contextlib.contextmanager
def tensorflow_stand_in() -> Iterator[None]:
    """Inside this context TFDS finds the stand-in where it would import TensorFlow.

    Only TFDS's own lazy import is touched: `import tensorflow` fails as before.

    Raises `UsageError` if TFDS is of a version this was not tested with, or if what is
    run inside fails after it asked for something that only TensorFlow has.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import lazy_imports_utils

    remedy = "install TensorFlow: pip install 'jaxvision-research[tensorflow]'"
    if tfds.__version__ not in TESTED_WITH:
        raise UsageError(
            f"tensorflow-datasets {tfds.__version__} is not among the versions that "
            f"prepare sets without TensorFlow ({', '.join(TESTED_WITH)}): use one of "
            f"them, or {remedy}"
        )
    lazy_module = vars(lazy_imports_utils.tensorflow)  # caches the module it imported
    missing: list[str] = []
    lazy_module["_module"] = _stand_in(missing)
    try:
        yield
    except Exception as error:
        if missing:
            raise UsageError(
                f"this set needs {', '.join(missing)}, which only TensorFlow has: "
                f"{remedy}"
            ) from error
        raise
    finally:
        del lazy_module["_module"]


class _Part:
    """A module with a few of its attributes; asking for another is noted and fails."""

    def __init__(self, path: str, missing: list[str], **attributes: Any):
        self.__dict__.update(attributes)
        self._path, self._missing = path, missing

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._missing.append(f"{self._path}.{name}")
        raise AttributeError(f"the stand-in for TensorFlow has no {self._path}.{name}")


def _stand_in(missing: list[str]) -> _Part:
    """Those names of TensorFlow 2 that TFDS and most of its image sets use."""
    gfile = _Part(
        "tf.io.gfile",
        missing,
        GFile=_open,
        exists=os.path.exists,
        glob=lambda pattern: sorted(glob.glob(pattern)),
        isdir=os.path.isdir,
        listdir=lambda path: sorted(os.listdir(path)),
        makedirs=lambda path: os.makedirs(path, exist_ok=True),
        remove=os.remove,
        walk=os.walk,
    )
    # TFDS names them in `except` clauses.  A full disk raises OSError here.
    errors = _Part(
        "tf.errors",
        missing,
        NotFoundError=FileNotFoundError,
        ResourceExhaustedError=_NeverRaised,
        UnimplementedError=_NeverRaised,
    )
    return _Part(
        "tf",
        missing,
        compat=_Part("tf.compat", missing, as_text=_as_text),
        errors=errors,
        executing_eagerly=lambda: True,
        image=_Part("tf.image", missing, encode_png=_encode_png),
        io=_Part("tf.io", missing, gfile=gfile),
    )


class _NeverRaised(Exception):
    pass


def _open(name: str | os.PathLike, mode: str = "r") -> IO[Any]:
    return open(name, mode, encoding=None if "b" in mode else "utf-8")


def _as_text(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _encode_png(pixels: np.ndarray) -> SimpleNamespace:
    """PNG is lossless: other bytes than TensorFlow's, the same pixels.

    `pixels` is [H,W,C]: uint8 with 1, 3 or 4 channels, or uint16 with one.
    """
    from PIL import Image

    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return SimpleNamespace(numpy=file.getvalue)
