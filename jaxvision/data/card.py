"""What there is to know of a data set before training on it, counted image by image."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.decoding import DecodeError, decode
from jaxvision.data.source import Source, Splits, fingerprint
from jaxvision.data.streaming import quick_fingerprint
from jaxvision.errors import UsageError

_CHUNK = 1_024  # images whose pixels are counted at a time
_SAMPLE = 2_000  # images that are decoded of a split that is streamed
_IN_MEMORY = 4 << 30  # bytes of a split up to which it is read as one array


class Part(NamedTuple):
    """What is known of one split."""

    class_counts: np.ndarray
    """int64 [K]: examples of each class."""
    sizes: Counter[tuple[int, int]]
    """How many images there are of each (height, width), upright."""
    duplicates: int
    """Images that equal an earlier one of this split."""
    fingerprint: str
    """As runs keep it in their checkpoints, to know the data again."""

    @property
    def size(self) -> int:
        return int(self.class_counts.sum())


class Card(NamedTuple):
    """What is known of a data set."""

    name: str
    class_names: tuple[str, ...]
    channels: int
    train: Part
    test: Part
    mean: np.ndarray
    """float64 [C] in 0..1: mean of the training split's pixels."""
    std: np.ndarray
    """float64 [C] in 0..1: their standard deviation."""
    measured: int
    """Training images that mean and standard deviation are taken over."""
    shared: int
    """Test images that the training split holds as well."""
    contradictory: int
    """Different images, of both splits, that occur with more than one label."""


class _Survey(NamedTuple):
    labels: np.ndarray
    digests: list[bytes]
    sizes: Counter[tuple[int, int]]
    fingerprint: str


def card(name: str, splits: Splits) -> Card:
    """Read all of a data set and count.

    Images are duplicates if all their pixels are equal.  Where images differ in size or
    would fill the memory, they are if their files are equal, and the mean and standard
    deviation are of 2,000 images at equal distances, in which all pixels count alike.

    Raises `UsageError` for a split without examples, and as the sources do.
    """
    for split in splits:
        if not split.size:
            raise UsageError(f"{split.name} is empty: there is nothing to describe")
    # Both in the same way, so that their digests can be compared.
    survey = _streamed if any(map(_streams, splits)) else _in_memory
    train, test = map(survey, splits)
    classes = len(splits.train.class_names)
    histogram, measured = _histogram(splits.train)
    mean, std = _moments(histogram)

    labels_of: dict[bytes, set[int]] = {}
    for part in train, test:
        for digest, label in zip(part.digests, part.labels, strict=True):
            labels_of.setdefault(digest, set()).add(int(label))
    in_train = set(train.digests)
    return Card(
        name=name,
        class_names=splits.train.class_names,
        channels=splits.train.image_shape[2],
        train=_part(train, classes),
        test=_part(test, classes),
        mean=mean,
        std=std,
        measured=measured,
        shared=sum(digest in in_train for digest in test.digests),
        contradictory=sum(len(labels) > 1 for labels in labels_of.values()),
    )


def record(card: Card) -> dict[str, Any]:
    """The card as JSON takes it: flat, numbers and lists of numbers or names."""
    found: dict[str, Any] = {
        "name": card.name,
        "classes": len(card.class_names),
        "class_names": list(card.class_names),
        "channels": card.channels,
        "mean": card.mean.tolist(),
        "std": card.std.tolist(),
        "mean_std_images": card.measured,
        "test_images_in_train": card.shared,
        "images_with_several_labels": card.contradictory,
    }
    for split, part in (("train", card.train), ("test", card.test)):
        heights, widths = zip(*part.sizes, strict=True)
        found |= {
            f"{split}_examples": part.size,
            f"{split}_class_counts": part.class_counts.tolist(),
            f"{split}_class_count_min": int(part.class_counts.min()),
            f"{split}_class_count_median": float(np.median(part.class_counts)),
            f"{split}_class_count_max": int(part.class_counts.max()),
            f"{split}_sizes": len(part.sizes),
            f"{split}_height_min": min(heights),
            f"{split}_height_median": _median(part.sizes, 0),
            f"{split}_height_max": max(heights),
            f"{split}_width_min": min(widths),
            f"{split}_width_median": _median(part.sizes, 1),
            f"{split}_width_max": max(widths),
            f"{split}_duplicates": part.duplicates,
            f"{split}_fingerprint": part.fingerprint,
        }
    return found


def rows(card: Card) -> dict[str, str]:
    """The card in words, line by line."""
    parts = {"train": card.train, "test": card.test}
    measured = ""
    if card.measured < card.train.size:
        measured = f" (of {card.measured:,} training images)"
    return {
        "examples": _each(parts, lambda part: f"{part.size:,}"),
        "images": f"{_sizes(card.train.sizes + card.test.sizes)} × {card.channels}",
        "classes": f"{len(card.class_names):,}: {_names(card.class_names)}",
        "per class": _each(parts, _balance),
        "mean": _numbers(card.mean) + measured,
        "std": _numbers(card.std) + measured,
        "duplicates": _each(parts, lambda part: f"{part.duplicates:,}")
        + f", test in train {card.shared:,}",
        "several labels": f"{card.contradictory:,} images",
        "fingerprint": _each(parts, lambda part: part.fingerprint),
    }


def examples(
    source: Source, rows: int = 20, columns: int = 10
) -> dict[int, list[np.ndarray]]:
    """Images uint8 [H,W,C] of at most `rows` classes, at most `columns` of each.

    The classes, by their index, and the images of each are taken at equal distances
    from the first one to the last: the same ones every time.
    """
    if _streams(source):
        assert source.labels
        labels = source.labels()

        def image(index: int) -> np.ndarray:
            return _decoded(source, index)
    else:
        data = source.read()
        labels = data["label"]

        def image(index: int) -> np.ndarray:
            return data["image"][index]

    return {
        int(label): [image(int(i)) for i in _spread(members, columns)]
        for label in _spread(np.arange(len(source.class_names)), rows)
        for members in [np.flatnonzero(labels == label)]
    }


def _streams(source: Source) -> bool:
    height, width, channels = source.image_shape
    if height is None or width is None:
        return True
    return source.encoded is not None and (
        source.size * height * width * channels > _IN_MEMORY
    )


def _in_memory(source: Source) -> _Survey:
    data = source.read()
    images = np.ascontiguousarray(data["image"])
    return _Survey(
        labels=data["label"],
        digests=[_digest(image) for image in images],
        sizes=Counter({images.shape[1:3]: len(images)}),
        fingerprint=fingerprint(source._replace(read=lambda: data)),
    )


def _streamed(source: Source) -> _Survey:
    assert source.labels and source.encoded
    encoded = source.encoded

    def look(index: int) -> tuple[bytes, tuple[int, int]]:
        content = encoded(index)
        with _named(source, index):
            return _digest(content), _upright_size(content)

    with ThreadPoolExecutor() as pool:
        digests, sizes = zip(*pool.map(look, range(source.size)), strict=True)
    return _Survey(
        labels=source.labels(),
        digests=list(digests),
        sizes=Counter(sizes),
        fingerprint=quick_fingerprint(source),
    )


def _part(survey: _Survey, classes: int) -> Part:
    return Part(
        class_counts=np.bincount(survey.labels, minlength=classes),
        sizes=survey.sizes,
        duplicates=len(survey.digests) - len(set(survey.digests)),
        fingerprint=survey.fingerprint,
    )


def _digest(content: Any) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _histogram(source: Source) -> tuple[np.ndarray, int]:
    """How often each channel has each value, int64 [C,256], and in how many images."""
    if _streams(source):
        indices = _spread(np.arange(source.size), _SAMPLE).tolist()
        with ThreadPoolExecutor() as pool:
            each = pool.map(lambda index: _levels(_decoded(source, index)), indices)
            return np.sum(list(each), axis=0), len(indices)
    images = source.read()["image"]
    chunks = (images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK))
    return np.sum([_levels(chunk) for chunk in chunks], axis=0), len(images)


def _levels(images: np.ndarray) -> np.ndarray:
    """How often each channel of uint8 [...,C] has each value, int64 [C,256]."""
    channels = np.moveaxis(images, -1, 0)
    return np.stack([np.bincount(part.ravel(), minlength=256) for part in channels])


def _moments(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float64 [C] each, of values that stand for 0..1."""
    levels = np.arange(256) / 255
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    mean = shares @ levels
    return mean, np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))


def _decoded(source: Source, index: int) -> np.ndarray:
    assert source.encoded
    with _named(source, index):
        return decode(source.encoded(index), source.image_shape[2])


@contextmanager
def _named(source: Source, index: int) -> Iterator[None]:
    """Decoders know why an image cannot be read, but not which one it is."""
    try:
        yield
    except (DecodeError, OSError) as error:
        raise UsageError(
            f"image {index} of {source.name} cannot be read: {error}"
        ) from error


def _upright_size(encoded: bytes) -> tuple[int, int]:
    """Height and width from the head of a file, without decoding it."""
    from PIL import ExifTags, Image

    with Image.open(io.BytesIO(encoded)) as image:
        lies = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size if lies else image.size[::-1]


def _spread(items: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `items`, at equal distances from the first to the last."""
    count = min(count, len(items))
    return items[np.linspace(0, len(items) - 1, count).round().astype(int)]


def _median(sizes: Counter[tuple[int, int]], side: int) -> float:
    counts = np.array(list(sizes.values()))
    return float(np.median(np.repeat([size[side] for size in sizes], counts)))


def _each(parts: dict[str, Part], words: Callable[[Part], str]) -> str:
    return ", ".join(f"{split} {words(part)}" for split, part in parts.items())


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """`28 × 28`, or `60–400 × 80–640 (median 300 × 400)`: height before width."""
    if len(sizes) == 1:
        ((height, width),) = sizes
        return f"{height} × {width}"
    heights, widths = zip(*sizes, strict=True)
    medians = f"{_median(sizes, 0):g} × {_median(sizes, 1):g}"
    return f"{_range(heights)} × {_range(widths)} (median {medians})"


def _balance(part: Part) -> str:
    counts = part.class_counts.tolist()
    if min(counts) == max(counts):
        return _range(counts)
    return f"{_range(counts)} (median {np.median(counts):,g})"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.4f}" for value in values)
