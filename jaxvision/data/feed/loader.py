"""Pipelines: which examples a batch is made of, and where the images are kept.

In memory, the set lies on the device as arrays, the host only draws indices, and the
jitted step gathers (see `types.Pipeline`).  Streaming, the host decodes and crops what
a batch needs, in threads: see `streaming`.  Without a crop both give the same batches.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.feed.crops import Crop, Size, is_random, side_pair, uncropped
from jaxvision.data.feed.phases import Phases, phased
from jaxvision.data.feed.preparation import Preparation
from jaxvision.data.feed.streaming import (
    PADDING,
    Plan,
    blank,
    draws,
    quick_fingerprint,
    stream,
)
from jaxvision.data.source import Source, fingerprint, largest, weight
from jaxvision.errors import UsageError, check, unknown
from jaxvision.ops import augment
from jaxvision.ops.augment import Transform
from jaxvision.skeletons import Skeleton
from jaxvision.types import Array, Batch, Pipeline

Storage = Literal["auto", "memory", "stream"]
"""Where a pipeline keeps the images: decoded, on the devices (`memory`), or as they are
in their source, to be decoded for each batch (`stream`)."""

MEMORY_LIMIT = 2 << 30
"""Bytes of a split up to which `auto` keeps it in memory, on every device.  The same
everywhere, so that a run does not depend on the machine that it began on."""

ALL = slice(None)


def train(
    source: Source,
    batch_size: int,
    *,
    transform: Transform | Phases,
    seed: int,
    crop: Crop | None = None,
    repeats: int = 1,
    storage: Storage = "auto",
    workers: int | None = None,
    prefetch: int = 4,
) -> Pipeline:
    """Endless batches: each epoch is a new permutation, whose remainder is dropped.

    The order depends on `seed` and the epoch alone, and the crop of an example on these
    and the example.

    Args:
      source: what is trained on.
      batch_size: rows of a batch, over all processes and devices.
      transform: `(key, batch) -> batch`, from bytes to what the model takes; runs on
        the device, with a key of the step.  Or several of them, see `phases`.
      seed: not negative.
      crop: such as `crops.random_resized_crop(224)`; None: images as they are, which
        then have to be of one size.
      repeats: how often each example is in a batch, each time with other crops and
        transforms (Hoffer et al. 2020, https://arxiv.org/abs/1901.09335).  A pass over
        the set then has as many times more batches.
      storage: `memory`, `stream`, or `auto`, which streams what is cropped, differs in
        size or exceeds `MEMORY_LIMIT`.
      workers: decoding threads of a stream; None: one per core; 0: decode when asked.
      prefetch: batches of a stream under way besides the one asked for.  They bound
        its memory.
    """
    chosen, shown = _storage(source, storage, crop)
    check(
        *_rules(source, batch_size, workers),
        (seed >= 0, f"seed must not be negative, got {seed}"),
        (
            batch_size <= source.size * repeats,
            f"batch size {batch_size} exceeds the {source.size} examples of "
            f"{source.name}: use at most that many",
        ),
        (
            repeats >= 1 and batch_size % max(repeats, 1) == 0,
            f"repeats must divide the batch size {batch_size}, got {repeats}",
        ),
    )
    distinct = batch_size // repeats
    num_batches = source.size // distinct

    @functools.lru_cache(maxsize=2)  # batches ahead may lie in the next epoch
    def order(epoch: int) -> np.ndarray:
        return epoch_order(source.size, seed, epoch)

    def plan(number: int) -> Plan:
        epoch, batch = divmod(number, num_batches)
        examples = order(epoch)[batch * distinct : (batch + 1) * distinct]
        repeat = np.tile(np.arange(repeats), distinct)
        return Plan(
            np.repeat(examples, repeats),
            lambda row, example: draws(seed, epoch, example, int(repeat[row])),
        )

    @functools.cache
    def identity() -> dict[str, Any]:
        look = fingerprint if chosen == "memory" else quick_fingerprint
        return {
            "size": source.size,
            "batch_size": batch_size,
            "seed": seed,
            "repeats": repeats,
            "fingerprint": look(source),
        }

    def items(rows: slice = ALL) -> TrainItems:
        if chosen == "memory":
            get = _indices(plan, rows)
        else:
            get = stream(source, shown, plan, rows, workers=workers, prefetch=prefetch)
        return TrainItems(get, num_batches, identity)

    of = functools.partial(
        _pipeline, source, batch_size, num_batches, chosen, shown, items
    )
    if isinstance(transform, Phases):
        each = [_told_sides(one, source.skeleton) for one in transform.transforms]
        return phased(of(each[0]), transform._replace(transforms=each))
    return of(_told_sides(transform, source.skeleton))


def evaluation(
    source: Source,
    batch_size: int,
    *,
    transform: Transform,
    crop: Crop | None = None,
    canvas: Size | Literal["largest"] | None = None,
    storage: Storage = "auto",
    workers: int | None = None,
    prefetch: int = 4,
) -> Pipeline:
    """One pass in order; the last batch is padded and masked, so that none is lost.

    Args:
      crop: such as `crops.central_crop(224)`.
      canvas: for evaluation at full resolution: the crop is what the network sees, and
        annotations stay as they are in the original images.  Their maps lie in the
        upper left corner of as many pixels, height and width, or the side of a square;
        `"largest"`: of what holds all images.  The batches have `taken` and `canvas`
        then, and `transform` must not move anything.  None: annotations are cropped
        and resized as the images are.

    The other arguments are as in `train`.
    """
    chosen, shown = _storage(source, storage, crop)
    frame = None if crop is None else _canvas(source, canvas)
    check(
        *_rules(source, batch_size, workers),
        (
            not is_random(shown),
            "the crop draws random numbers, which an evaluation does not have: use one "
            "that does not, such as central_crop, stretch or letterbox",
        ),
    )
    num_batches = -(-source.size // batch_size)

    def plan(number: int) -> Plan:
        examples = number * batch_size + np.arange(batch_size, dtype=np.int32)
        examples = np.where(examples < source.size, examples, np.int32(PADDING))
        return Plan(examples, lambda row, example: [])

    def items(rows: slice = ALL) -> Iterator[dict[str, np.ndarray]]:
        if chosen == "memory":
            get = _indices(plan, rows)
        else:
            get = stream(
                source,
                shown,
                plan,
                rows,
                canvas=frame,
                workers=workers,
                prefetch=prefetch,
                stop=num_batches,
            )
        for number in range(num_batches):
            yield get(number) | {"mask": plan(number).examples[rows] != PADDING}

    channels = source.image_shape[2]
    preparation = Preparation(channels, shown, transform, original=frame is not None)
    return _pipeline(
        source,
        batch_size,
        num_batches,
        chosen,
        shown,
        items,
        transform,
        canvas=frame,
        preparation=preparation,
    )


def _told_sides(transform: Transform, skeleton: Skeleton | None) -> Transform:
    if skeleton is None or skeleton.mirrored is None:
        return transform
    return augment.with_sides(transform, skeleton.mirrored)


class TrainItems:
    """The items of `train` as an `ItemIterator`: the n-th is a function of n alone."""

    def __init__(
        self,
        get: Callable[[int], dict[str, np.ndarray]],
        num_batches: int,
        identity: Callable[[], dict[str, Any]],
    ):
        self._get, self._num_batches, self._identity = get, num_batches, identity
        self._number = 0

    def __next__(self) -> dict[str, np.ndarray]:
        item = self._get(self._number)
        self._number += 1
        return item

    def get_state(self) -> dict[str, Any]:
        """Where the next batch comes from, and what the order depends on."""
        epoch, batch = divmod(self._number, self._num_batches)
        return self._identity() | {"epoch": epoch, "batch": batch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`.  Raises `UsageError` if it belongs to other data."""
        differing = [
            f"{name}: was {state.get(name)!r}, is {value!r}"
            for name, value in self._identity().items()
            if state.get(name) != value
        ]
        if differing:
            raise UsageError(
                "the training data is not what this run began with ("
                + "; ".join(differing)
                + "): restore the data, or start anew with another --workdir"
            )
        self._number = state["epoch"] * self._num_batches + state["batch"]


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation int32 [size] in which an epoch goes through the examples.

    Ranks of raw draws: NumPy guarantees their stream for all its versions, which it
    does not for `Generator.permutation`.
    """
    raw = np.random.PCG64([seed, epoch]).random_raw(size)
    return np.argsort(raw, kind="stable").astype(np.int32)


def _pipeline(
    source: Source,
    batch_size: int,
    num_batches: int,
    storage: Storage,
    crop: Crop,
    items: Callable[..., Any],
    transform: Transform,
    *,
    canvas: tuple[int, int] | None = None,
    preparation: Preparation | None = None,
) -> Pipeline:
    gather = _gather if canvas is None else functools.partial(_gather_onto, canvas)

    def stored() -> dict[str, Any]:
        item = {
            name: jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), array.dtype)
            for name, array in blank(source, crop, canvas, 0).items()
        }
        return item if canvas is None else jax.eval_shape(gather, {}, item)

    return Pipeline(
        name=source.name,
        batch_size=batch_size,
        num_examples=source.size,
        num_batches=num_batches,
        resident=source.read if storage == "memory" else dict,
        items=items,
        gather=gather,
        transform=transform,
        annotations=source.annotations,
        stored=stored,
        choice=source.choice,
        preparation=preparation,
    )


def _indices(
    plan: Callable[[int], Plan], rows: slice
) -> Callable[[int], dict[str, np.ndarray]]:
    return lambda number: {"index": np.maximum(plan(number).examples[rows], 0)}


def _gather(resident: Mapping[str, Array], item: Batch) -> Batch:
    batch = dict(item)
    if "index" in item:
        index = batch.pop("index")
        batch |= {name: array[index] for name, array in resident.items()}
    return batch


def _gather_onto(
    canvas: tuple[int, int], resident: Mapping[str, Array], item: Batch
) -> Batch:
    """The same, with the place of each original on the canvas."""
    batch = dict(_gather(resident, item))
    return batch | {"canvas": on_canvas(batch.pop("size"), canvas)}


def on_canvas(sizes: Array, canvas: tuple[int, int]) -> Array:
    """`canvas` of a `types.Batch`: uint8 [B,*canvas] of images with `sizes` [B,2]."""
    rows, columns = (jnp.arange(side)[None, :] for side in canvas)
    inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]
    return inside.astype(jnp.uint8)


def _canvas(
    source: Source, canvas: Size | Literal["largest"] | None
) -> tuple[int, int] | None:
    """Raises `UsageError` for one that cannot be had."""
    if canvas is None:
        return None
    holds = largest(source)
    if isinstance(canvas, str):
        if canvas != "largest":
            raise unknown("canvas", canvas, ["largest"])
        if holds is None:
            raise UsageError(
                f"the sizes of the images of {source.name} are not known before they "
                "are decoded: give canvas=(HEIGHT, WIDTH), which holds each of them"
            )
        return holds
    height, width = side_pair(canvas)
    check(
        (
            holds is None or (holds[0] <= height and holds[1] <= width),
            f"a canvas of {height}×{width} (height × width) does not hold the images "
            f"of {source.name}, of which the largest sides are {holds}: make it larger",
        )
    )
    return height, width


def _storage(
    source: Source, storage: Storage, crop: Crop | None
) -> tuple[Storage, Crop]:
    """`memory` or `stream`, and what is taken of each image.

    Raises `UsageError` for what cannot be had.
    """
    height, width, _ = source.image_shape
    if crop is None and (height is None or width is None):
        raise UsageError(
            f"the images of {source.name} differ in size: give the pipeline a crop, "
            "such as data.random_resized_crop(224) in training and "
            "data.central_crop(224) in evaluation, or resize the files"
        )
    check(
        (
            storage in ("auto", "memory", "stream"),
            f"storage must be auto, memory or stream, got {storage!r}",
        ),
        (
            storage != "memory" or crop is None,
            "storage='memory' takes images as they are: crop them by a transform on "
            "the device, or choose storage='auto' or 'stream'",
        ),
    )
    if crop is not None:
        return "stream", crop
    assert height is not None and width is not None
    if storage == "auto":
        fits = source.encoded is None or weight(source) <= MEMORY_LIMIT
        storage = "memory" if fits else "stream"
    return storage, uncropped((height, width))


def _rules(
    source: Source, batch_size: int, workers: int | None
) -> list[tuple[bool, str]]:
    if source.size == 0:
        raise UsageError(f"{source.name} is empty")
    return [
        (batch_size >= 1, f"batch size must be positive, got {batch_size}"),
        (
            workers is None or workers >= 0,
            f"workers must be a number of threads, or 0 for none, got {workers}",
        ),
    ]
