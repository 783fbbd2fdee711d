"""Statistics of a data set, to be looked at before training on it."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.feed.streaming import quick_fingerprint
from jaxvision.data.files import decoding
from jaxvision.data.files.decoding import DecodeError
from jaxvision.data.source import Source, Splits, fingerprint, weight
from jaxvision.errors import UsageError
from jaxvision.skeletons import Skeleton
from jaxvision.types import MAPS, UNKNOWN

_CHUNK = 1_024  # images whose pixels are counted at a time
_SAMPLE = 2_000  # images that are decoded of a split that is streamed
_IN_MEMORY = 4 << 30  # bytes of a split up to which it is read as one array


class Part(NamedTuple):
    """Statistics of one split."""

    size: int
    """Examples."""
    class_counts: np.ndarray
    """int64 [K]: examples that show each class, by any of their annotations."""
    sizes: Counter[tuple[int, int]]
    """How many images there are of each (height, width), upright."""
    duplicates: int
    """Images that equal an earlier one of this split."""
    fingerprint: str
    """As checkpoints hold it, to recognise the data when a run continues."""
    empty: int = 0
    """Examples that show none of the classes."""
    objects: np.ndarray | None = None
    """int64 [K]: objects of each class, where there are boxes; crowds count."""
    crowds: np.ndarray | None = None
    """int64 [K]: those of them that are `crowd`, neither to be found nor a mistake."""
    per_image: np.ndarray | None = None
    """int64 [N]: objects in each image."""
    pixels: np.ndarray | None = None
    """int64 [K+1]: pixels of each class, and unknown ones, where there are masks."""


class Card(NamedTuple):
    """Statistics of a data set."""

    name: str
    annotations: tuple[str, ...]
    """What each image has, such as `boxes`, by the names of `types.Batch`."""
    class_names: tuple[str, ...]
    channels: int
    parts: Mapping[str, Part]
    """The splits by name: `train`, perhaps `validation`, and `test`."""
    mean: np.ndarray
    """float64 [C] in 0..1: mean of the training split's pixels."""
    std: np.ndarray
    """float64 [C] in 0..1: their standard deviation."""
    measured: int
    """Training images from which mean, standard deviation and pixels were taken."""
    shared: Mapping[tuple[str, str], int]
    """How many images of one split are also in another that is used before it, such as
    those of `("test", "train")`."""
    choices: Mapping[str, str]
    """`Source.choice` of the splits that have one."""
    contradictory: int
    """Distinct images that occur several times, in any split, and with annotations
    that differ; masks are not compared."""
    skeleton: Skeleton | None = None
    """What the keypoints are, where there are any."""

    @property
    def train(self) -> Part:
        return self.parts["train"]

    @property
    def test(self) -> Part:
        return self.parts["test"]


class _Survey(NamedTuple):
    annotations: tuple[str, ...]
    targets: dict[str, np.ndarray]
    digests: list[bytes]
    sizes: Counter[tuple[int, int]]
    fingerprint: str


def card(name: str, splits: Splits) -> Card:
    """Read all of a data set and count.

    Images are duplicates if all their pixels are equal.  Where images differ in size or
    would fill the memory, their files are compared instead, and the mean and standard
    deviation are those of all pixels of 2,000 images, evenly spaced in the split.

    Raises `UsageError` for a split without examples, and as the sources do.
    """
    sources = splits.there()
    for source in sources.values():
        if not source.size:
            raise UsageError(f"{source.name} is empty: there is nothing to describe")
    # All in the same way, so that their digests can be compared.
    survey = _streamed if any(map(_streams, sources.values())) else _in_memory
    surveys = {split: survey(source) for split, source in sources.items()}
    histogram, measured = _histogram(splits.train)
    mean, std = _moments(histogram)

    annotated: dict[bytes, set[bytes]] = {}
    for part in surveys.values():
        for i, digest in enumerate(part.digests):
            row = b"".join(array[i].tobytes() for array in part.targets.values())
            annotated.setdefault(digest, set()).add(row)
    digests = {split: set(part.digests) for split, part in surveys.items()}
    return Card(
        name=name,
        annotations=surveys["train"].annotations,
        class_names=splits.train.class_names,
        channels=splits.train.image_shape[2],
        parts={split: _part(surveys[split], sources[split]) for split in sources},
        mean=mean,
        std=std,
        measured=measured,
        shared={
            (later, earlier): sum(
                digest in digests[earlier] for digest in surveys[later].digests
            )
            for earlier, later in itertools.combinations(sources, 2)
        },
        choices={split: one.choice for split, one in sources.items() if one.choice},
        contradictory=sum(len(found) > 1 for found in annotated.values()),
        skeleton=splits.train.skeleton,
    )


def record(card: Card) -> dict[str, Any]:
    """The card as JSON takes it: flat, numbers and lists of numbers or names."""
    found: dict[str, Any] = {
        "name": card.name,
        "annotations": list(card.annotations),
        "classes": len(card.class_names),
        "class_names": list(card.class_names),
        "channels": card.channels,
        "mean": card.mean.tolist(),
        "std": card.std.tolist(),
        "mean_std_images": card.measured,
        "tested_on": card.choices.get("test", ""),
        "validated_on": card.choices.get("validation", ""),
        **{
            f"{later}_images_in_{earlier}": count
            for (later, earlier), count in card.shared.items()
        },
        "images_with_several_labels": card.contradictory,
    }
    if card.skeleton is not None:
        found["keypoint_names"] = list(card.skeleton.names)
        found["limbs"] = [list(limb) for limb in card.skeleton.limbs]
        found["mirrored"] = card.skeleton.mirrored and list(card.skeleton.mirrored)
    for split, part in card.parts.items():
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
            f"{split}_without_class": part.empty,
        }
        if part.objects is not None and part.per_image is not None:
            found |= {
                f"{split}_objects": int(part.objects.sum()),
                f"{split}_object_counts": part.objects.tolist(),
                f"{split}_crowds": _total(part.crowds),
                f"{split}_objects_per_image_min": int(part.per_image.min()),
                f"{split}_objects_per_image_median": float(np.median(part.per_image)),
                f"{split}_objects_per_image_max": int(part.per_image.max()),
            }
        if part.pixels is not None:
            *shares, unknown = shares_of_pixels(part).tolist()
            found |= {f"{split}_pixel_shares": shares, f"{split}_unknown": unknown}
    return found


def shares_of_pixels(part: Part) -> np.ndarray:
    """float64 [K+1]: shares of the classes in the known, and of the unknown pixels."""
    assert part.pixels is not None
    known = max(int(part.pixels[:-1].sum()), 1)
    whole = np.array([known] * (len(part.pixels) - 1) + [int(part.pixels.sum())])
    return part.pixels / whole


def balance(card: Card) -> tuple[str, dict[str, np.ndarray]]:
    """How common each class is, [K] for each split, and the unit of the counts.

    Objects where there are boxes, per cent of the known pixels where there are masks,
    and else examples; also where there are both, since a class may have pixels and no
    objects, such as a background.
    """
    parts = card.parts
    annotated = {"boxes", "classes", "segmentation"} & {*card.annotations}
    if annotated and "segmentation" not in annotated:
        return "objects", {
            split: np.array(part.objects) for split, part in parts.items()
        }
    if annotated == {"segmentation"}:
        return "% of the pixels", {
            split: 100 * shares_of_pixels(part)[:-1] for split, part in parts.items()
        }
    return "examples", {split: part.class_counts for split, part in parts.items()}


def rows(card: Card) -> dict[str, str]:
    """The card as text: the title and the content of each line."""
    parts = card.parts
    measured = ""
    if card.measured < card.train.size:
        measured = f" (of {card.measured:,} training images)"
    sizes = sum((part.sizes for part in parts.values()), Counter[tuple[int, int]]())
    found = {
        "examples": _each(parts, lambda part: f"{part.size:,}"),
        **{f"{split} split": choice for split, choice in card.choices.items()},
        "images": f"{_sizes(sizes)} × {card.channels}",
        "annotations": ", ".join(card.annotations),
        "classes": f"{len(card.class_names):,}: {_names(card.class_names)}",
        "per class": _each(parts, lambda part: _spread_of(part.class_counts)),
    }
    if card.skeleton is not None:
        sides = "" if card.skeleton.mirrored else ", of which no sides are known"
        names = card.skeleton.names
        found["keypoints"] = f"{len(names)}: {_names(names)}{sides}"
    if any(part.empty for part in parts.values()):
        found["of no class"] = _each(parts, lambda part: f"{part.empty:,}")
    if card.train.objects is not None:
        objects = _object_classes(card)
        found |= {
            "objects": _each(parts, lambda part: f"{_total(part.objects):,}"),
            "of each class": _each(
                parts, lambda part: _spread_of(np.array(part.objects)[objects])
            ),
            "in an image": _each(parts, lambda part: _spread_of(part.per_image)),
        }
    if any(_total(part.crowds) for part in parts.values()):
        found["of them crowds"] = _each(parts, lambda part: f"{_total(part.crowds):,}")
    if card.train.pixels is not None:
        found["pixels"] = _shares(card.class_names, shares_of_pixels(card.train))
        found["pixels"] += measured
    found |= {
        "mean": _numbers(card.mean) + measured,
        "std": _numbers(card.std) + measured,
        "duplicates": _each(parts, lambda part: f"{part.duplicates:,}")
        + "".join(
            f", {later} in {earlier} {count:,}"
            for (later, earlier), count in card.shared.items()
            if count
            or (later, earlier) == ("test", "train")  # the worst is always said
        ),
        "several labels": f"{card.contradictory:,} images",
        "fingerprint": _each(parts, lambda part: part.fingerprint),
    }
    return found


def examples(
    source: Source, rows: int = 20, columns: int = 10
) -> dict[int, list[dict[str, np.ndarray]]]:
    """Examples of at most `rows` classes, at most `columns` of each.

    The classes, by their index, and the examples of each are evenly spaced from the
    first one to the last: the same ones every time.  Each is a row of a
    `types.Batch`, with `image` uint8 [H,W,C] of its own size.
    """
    if _streams(source):
        assert source.targets
        targets = source.targets()

        def example(index: int) -> dict[str, np.ndarray]:
            rest = {key: array[index] for key, array in targets.items()}
            return {"image": _decoded(source, index), **rest, **_maps(source, index)}
    else:
        targets = source.read()

        def example(index: int) -> dict[str, np.ndarray]:
            return {key: array[index] for key, array in targets.items()}

    shows = _shows(source, targets)
    return {
        int(k): [example(int(i)) for i in _spread(shows(int(k)), columns)]
        for k in _spread(np.arange(len(source.class_names)), rows)
    }


def _object_classes(card: Card) -> np.ndarray:
    """bool [K]: all classes but those that pixels alone show, such as a background."""
    of_pixels = np.zeros(len(card.class_names), bool)
    if card.train.pixels is not None:
        objects = np.sum([np.array(part.objects) for part in card.parts.values()], 0)
        of_pixels = (objects == 0) & (card.train.pixels[:-1] > 0)
    return ~of_pixels


def _shows(
    source: Source, targets: dict[str, np.ndarray]
) -> Callable[[int], np.ndarray]:
    """`k -> int [n]`: the examples that show class k; with masks, of those counted."""
    if "label" in targets:
        return lambda k: np.flatnonzero(targets["label"] == k)
    there = targets.keys() | _maps(source, 0).keys()
    masks = _masks(source) if "segmentation" in there else None
    indices, shown = _shown(source, targets, masks)
    return lambda k: indices[shown[:, k]]


def _streams(source: Source) -> bool:
    if None in source.image_shape:
        return True
    if source.encoded is None:
        return False
    with _named(source, 0):
        return weight(source) > _IN_MEMORY


def _in_memory(source: Source) -> _Survey:
    data = source.read()
    images = np.ascontiguousarray(data["image"])
    targets = {key: data[key] for key in data if key not in ("image", *MAPS)}
    return _Survey(
        annotations=tuple(sorted(data.keys() - {"image"})),
        targets=targets,
        digests=[_digest(image) for image in images],
        sizes=Counter({images.shape[1:3]: len(images)}),
        fingerprint=fingerprint(source._replace(read=lambda: data)),
    )


def _streamed(source: Source) -> _Survey:
    assert source.targets and source.encoded
    encoded, targets = source.encoded, source.targets()

    def look(index: int) -> tuple[bytes, tuple[int, int]]:
        content = encoded(index)
        with _named(source, index):
            return _digest(content), decoding.size(content)

    with ThreadPoolExecutor() as pool:
        digests, sizes = zip(*pool.map(look, range(source.size)), strict=True)
    return _Survey(
        annotations=tuple(sorted(targets.keys() | _maps(source, 0).keys())),
        targets=targets,
        digests=list(digests),
        sizes=Counter(sizes),
        fingerprint=quick_fingerprint(source),
    )


def _part(survey: _Survey, source: Source) -> Part:
    classes, targets = len(source.class_names), survey.targets
    part = Part(
        size=source.size,
        class_counts=np.zeros(classes, np.int64),
        sizes=survey.sizes,
        duplicates=len(survey.digests) - len(set(survey.digests)),
        fingerprint=survey.fingerprint,
    )
    if "label" in targets:
        counts = np.bincount(targets["label"], minlength=classes)
        return part._replace(class_counts=counts)
    if "classes" in targets:
        real = targets["classes"] >= 0
        crowd = real & (targets.get("crowd", np.zeros_like(real)) > 0)
        part = part._replace(
            objects=np.bincount(targets["classes"][real], minlength=classes),
            crowds=np.bincount(targets["classes"][crowd], minlength=classes),
            per_image=np.count_nonzero(real, axis=1),
        )
    masks = _masks(source) if "segmentation" in survey.annotations else None
    if masks is not None:
        pixels = masks[1].sum(axis=0)[[*range(classes), UNKNOWN]]
        part = part._replace(pixels=pixels)
    _, shown = _shown(source, targets, masks)
    return part._replace(
        class_counts=shown.sum(axis=0),
        empty=int(np.count_nonzero(~shown.any(axis=1))),
    )


def _shown(
    source: Source,
    targets: Mapping[str, np.ndarray],
    masks: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which examples show which classes, by any of their annotations.

    Returns int [n], the examples, and bool [n,K].  They are all of the source unless
    there are `masks` alone, as `_masks` returns them.
    """
    classes = len(source.class_names)
    shown = np.zeros((source.size, classes), bool)
    if "presence" in targets:
        shown |= targets["presence"] == 1  # and not unknown
    if "classes" in targets:
        image, slot = np.nonzero(targets["classes"] >= 0)
        shown[image, targets["classes"][image, slot]] = True
    indices = np.arange(source.size)
    if masks is not None:
        shown[masks[0]] |= masks[1][:, :classes] > 0
        if not {"presence", "classes"} & targets.keys():
            indices = masks[0]
    return indices, shown[indices]


def _masks(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Of some examples, int [n], the pixels of each number, int64 [n,256]."""
    if _streams(source):
        indices = _spread(np.arange(source.size), _SAMPLE)
        with ThreadPoolExecutor() as pool:
            each = pool.map(
                lambda index: _pixels_of(_maps(source, index)["segmentation"]),
                indices.tolist(),
            )
            return indices, np.array(list(each))
    masks = source.read()["segmentation"]
    return np.arange(len(masks)), np.array([_pixels_of(mask) for mask in masks])


def _pixels_of(mask: np.ndarray) -> np.ndarray:
    return np.bincount(mask.ravel(), minlength=256)


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
        return decoding.decode(source.encoded(index), source.image_shape[2])


def _maps(source: Source, index: int) -> dict[str, np.ndarray]:
    if source.maps is None:
        return {}
    with _named(source, index):
        return source.maps(index)


@contextmanager
def _named(source: Source, index: int) -> Iterator[None]:
    """Decoders know why an image cannot be read, but not which one it is."""
    try:
        yield
    except (DecodeError, OSError) as error:
        raise UsageError(
            f"image {index} of {source.name} cannot be read: {error}"
        ) from error


def _spread(items: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `items`, at equal distances from the first to the last."""
    count = min(count, len(items))
    return items[np.linspace(0, len(items) - 1, count).round().astype(int)]


def _median(sizes: Counter[tuple[int, int]], side: int) -> float:
    counts = np.array(list(sizes.values()))
    return float(np.median(np.repeat([size[side] for size in sizes], counts)))


def _each(parts: Mapping[str, Part], words: Callable[[Part], str]) -> str:
    return ", ".join(f"{split} {words(part)}" for split, part in parts.items())


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """`28 × 28`, or `60–400 × 80–640 (median 300 × 400)`: height before width."""
    if len(sizes) == 1:
        ((height, width),) = sizes
        return f"{height} × {width}"
    heights, widths = zip(*sizes, strict=True)
    medians = f"{_median(sizes, 0):g} × {_median(sizes, 1):g}"
    return f"{_range(heights)} × {_range(widths)} (median {medians})"


def _spread_of(numbers: np.ndarray | None) -> str:
    assert numbers is not None
    counts = numbers.tolist()
    if min(counts) == max(counts):
        return _range(counts)
    return f"{_range(counts)} (median {np.median(counts):,g})"


def _total(numbers: np.ndarray | None) -> int:
    return 0 if numbers is None else int(numbers.sum())


def _shares(names: tuple[str, ...], shares: np.ndarray) -> str:
    *known, unknown = (f"{100 * share:.1f} %" for share in shares)
    listed = [f"{name} {share}" for name, share in zip(names, known, strict=True)]
    return _names(tuple(listed)) + f"; unknown {unknown}"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.4f}" for value in values)
