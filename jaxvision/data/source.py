"""A set of annotated images, described before it is read."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxvision.skeletons import Skeleton


class Source(NamedTuple):
    """One split of a data set.

    The description is cheap; the functions do the work, so that a mistake in a config
    is found before the first image is decoded.  What they return goes by the names of
    `types.Batch`, with N rows in place of B.
    """

    name: str
    """Such as `"mnist:train"`, for messages and records."""
    size: int
    """Number of examples, N."""
    image_shape: tuple[int | None, int | None, int]
    """Height, width and channels; None where images differ."""
    class_names: tuple[str, ...]
    """Names of the classes, by their number in `label`, `presence`, `segmentation` and
    `classes`."""
    read: Callable[[], dict[str, np.ndarray]]
    """`() -> {"image": uint8 [N,H,W,C], "label": int32 [N], …}`, always the same.
    Raises `UsageError` where images differ in size: those can only be streamed."""
    targets: Callable[[], dict[str, np.ndarray]] | None = None
    """`() -> {"label": int32 [N], …}`: what has no pixels, without decoding any."""
    encoded: Callable[[int], bytes] | None = None
    """`i -> bytes` of the i-th image's file (JPEG, PNG …), for streaming; safe to call
    from several threads, and to pickle for worker processes."""
    maps: Callable[[int], dict[str, np.ndarray]] | None = None
    """`i -> {"segmentation": uint8 [H,W], "instances": uint8 [M,H,W]}`: what the i-th
    image has per pixel, of that image's own size, for streaming; None: nothing."""
    sizes: Callable[[], np.ndarray] | None = None
    """`() -> int32 [N,2]`: height and width of each image, without decoding any; None:
    those of `image_shape`, or not known."""
    annotations: tuple[str, ...] = ()
    """The names of what each image has, where `targets` would take long to tell."""
    skeleton: Skeleton | None = None
    """What `keypoints` are; None: there are none, or nothing is known of them."""
    choice: str = ""
    """Which examples a test or validation split consists of, and who says so, in words,
    such as `"the folder val/, as declared"`; empty for what is trained on."""

    @property
    def dataset(self) -> str:
        """The name of the set that this is a split of: `"mnist"` of `"mnist:train"`."""
        return self.name.rpartition(":")[0]

    @property
    def split(self) -> str:
        """Which split of the set it is, such as `"train"`."""
        return self.name.rpartition(":")[2]


class Splits(NamedTuple):
    """The splits of a data set, which share no example."""

    train: Source
    test: Source
    validation: Source | None = None
    """What is declared, beside a test split, to choose the best checkpoint by; None: a
    part of `train` is to be held out for it (`carving.train_and_validation`)."""

    def there(self) -> dict[str, Source]:
        """Those that the set has, by name, in the order in which a run uses them."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: source for split, source in found.items() if source is not None}

    def each(self, change: Callable[[Source], Source]) -> "Splits":
        """The splits after the same change of all of them."""
        changed = {split: change(source) for split, source in self.there().items()}
        return Splits(**changed)


def largest(source: Source) -> tuple[int, int] | None:
    """Height and width of a frame that holds each of the images; None: not known."""
    height, width, _ = source.image_shape
    if height is not None and width is not None:
        return height, width
    if source.sizes is None or source.size == 0:
        return None
    height, width = source.sizes().max(axis=0).tolist()
    return height, width


def weight(source: Source) -> int:
    """Bytes that the images and maps take as arrays, for images of one size.

    Decodes the maps of the first example, if there are any.
    """
    height, width, channels = source.image_shape
    assert height is not None and width is not None, "images differ in size"
    maps = source.maps(0) if source.maps and source.size else {}
    pixels = height * width * channels + sum(array.nbytes for array in maps.values())
    return source.size * pixels


def fingerprint(source: Source) -> str:
    """16 hex digits that change when any pixel, label, shape or the order changes.

    Reads the source.  SHA-256 over the arrays: 0.03 s for the 47 MB of MNIST.
    """
    digest = hashlib.sha256()
    for name, array in sorted(source.read().items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]
