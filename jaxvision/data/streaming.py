"""Pipelines over sets of image files that are decoded as they are needed.

The host decodes, crops and resizes, in threads and a few batches ahead of their use;
what remains, from flips to normalisation, happens inside the jitted step on uint8
images (see `types.Pipeline`).  The n-th batch is a function of the seed and n, so the
state is a number, and neither threads nor processes nor hosts can change what comes.

Threads rather than worker processes or grain.  Decoding and resizing release Python's
lock: of the millisecond that a photograph costs at 224 pixels, 0.03 ms hold it, which
bounds the gain at some 30 cores, and nothing is pickled or copied between processes.
grain over the same decoder, in threads too, delivers 6 % fewer images per core
(`experiments/bench_data.py`); its processes restore a state only with the same number
of them.  What it would do for us, order and prefetching, is a page of code here.
"""

import functools
import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.crops import Box, central_crop, random_resized_crop
from jaxvision.data.decoding import DecodeError
from jaxvision.data.loader import check_same_data, epoch_order, training_rules
from jaxvision.data.source import Source
from jaxvision.errors import UsageError, check
from jaxvision.ops.augment import Transform
from jaxvision.types import Pipeline


def stream_train(
    source: Source,
    batch_size: int,
    *,
    image_size: int,
    transform: Transform,
    seed: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    workers: int | None = None,
    prefetch: int = 4,
    process_index: int = 0,
    process_count: int = 1,
) -> Pipeline:
    """Batches of random crops without end, in the order of `loader.train`.

    Items are `{"image": uint8 [B,S,S,C], "label": int32 [B]}`; `transform` maps the
    images to what the model takes, on the device and with a key of the step.  A crop
    depends on the seed, the epoch and the example alone.

    Args:
      source: must have `labels` and `encoded`.
      batch_size: over all processes.
      image_size: S, in pixels.
      scale, ratio: of the crops, see `crops.random_resized_crop`.
      workers: decoding threads; None: one per core; 0: decode in `__next__`.
      prefetch: batches under way besides the one asked for.  They bound the memory.
      process_index, process_count: this process gets its B / process_count rows of
        every batch.  The state is of the whole batch, so that a run saved by some
        number of processes continues with any other.
    """
    _check(source, batch_size, image_size, workers, process_index, process_count)
    check(
        *training_rules(source, batch_size, seed),
        (
            0 < scale[0] <= scale[1] <= 1,
            f"scale must be two shares of the area in order, got {scale}",
        ),
        (
            0 < ratio[0] <= ratio[1],
            f"ratio must be two positive numbers in order, got {ratio}",
        ),
    )
    num_batches = source.size // batch_size
    rows = _rows(batch_size, process_index, process_count)

    @functools.lru_cache(maxsize=2)  # batches ahead may lie in the next epoch
    def order(epoch: int) -> np.ndarray:
        return epoch_order(source.size, seed, epoch)

    def plan(number: int) -> _Plan:
        epoch, batch = divmod(number, num_batches)

        def crop(i: int, height: int, width: int) -> Box:
            draws = _draws(seed, epoch, i)
            return random_resized_crop(height, width, draws, scale=scale, ratio=ratio)

        return _Plan(order(epoch)[batch * batch_size :][rows], crop)

    return Pipeline(
        name=source.name,
        batch_size=batch_size,
        num_examples=source.size,
        num_batches=num_batches,
        resident=dict,
        items=lambda: StreamedBatches(
            _Prefetched(source, image_size, plan, workers, prefetch),
            num_batches,
            {"size": source.size, "batch_size": batch_size, "seed": seed},
            functools.cache(lambda: quick_fingerprint(source)),
        ),
        fetch=_fetch(transform),
    )


def stream_eval(
    source: Source,
    batch_size: int,
    *,
    image_size: int,
    transform: Transform,
    resize: float = 256 / 224,
    workers: int | None = None,
    prefetch: int = 4,
    process_index: int = 0,
    process_count: int = 1,
) -> Pipeline:
    """One pass in order over central crops; the last batch is padded and masked.

    The shorter side is resized to `resize` times `image_size` and the centre cut out.
    The other arguments are those of `stream_train`.
    """
    _check(source, batch_size, image_size, workers, process_index, process_count)
    check((resize >= 1, f"resize must be at least 1, got {resize}"))
    num_batches = -(-source.size // batch_size)
    rows = _rows(batch_size, process_index, process_count)

    def crop(i: int, height: int, width: int) -> Box:
        return central_crop(height, width, resize=resize)

    def plan(number: int) -> _Plan:
        index = number * batch_size + np.arange(batch_size)
        return _Plan(np.where(index < source.size, index, _PADDING)[rows], crop)

    def items() -> Iterator[dict[str, np.ndarray]]:
        batches = _Prefetched(source, image_size, plan, workers, prefetch, num_batches)
        for number in range(num_batches):
            yield batches.get(number) | {"mask": plan(number).examples != _PADDING}

    return Pipeline(
        name=source.name,
        batch_size=batch_size,
        num_examples=source.size,
        num_batches=num_batches,
        resident=dict,
        items=items,
        fetch=_fetch(transform),
    )


class StreamedBatches:
    """Training items as an `ItemIterator`."""

    def __init__(
        self,
        batches: "_Prefetched",
        num_batches: int,
        identity: dict[str, Any],
        data_fingerprint: Callable[[], str],
    ):
        self._batches, self._num_batches = batches, num_batches
        self._identity, self._fingerprint = identity, data_fingerprint
        self._number = 0

    def __next__(self) -> dict[str, np.ndarray]:
        item = self._batches.get(self._number)
        self._number += 1
        return item

    def get_state(self) -> dict[str, Any]:
        """Where the next batch comes from, and what the order depends on."""
        epoch, batch = divmod(self._number, self._num_batches)
        fingerprint = {"fingerprint": self._fingerprint()}
        return self._identity | fingerprint | {"epoch": epoch, "batch": batch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`.  Raises `UsageError` if it is of other data."""
        fingerprint = {"fingerprint": self._fingerprint()}
        check_same_data(self._identity | fingerprint, state)
        self._number = state["epoch"] * self._num_batches + state["batch"]


def quick_fingerprint(source: Source) -> str:
    """16 hex digits that change with the labels, the class names or most of the files.

    Reads 64 files, spread evenly over the source, and decodes none: a set that is
    streamed is too large to be read for a fingerprint.
    """
    assert source.labels is not None and source.encoded is not None  # see `_check`
    digest = hashlib.sha256(repr((source.size, source.class_names)).encode())
    digest.update(np.ascontiguousarray(source.labels(), np.int32))
    for i in np.unique(np.linspace(0, source.size - 1, 64).astype(int)).tolist():
        digest.update(hashlib.sha256(source.encoded(i)).digest())
    return digest.hexdigest()[:16]


_PADDING = -1


class _Plan(NamedTuple):
    """What a batch consists of."""

    examples: np.ndarray
    """int [B], their indices; `_PADDING` for a row of zeros."""
    crop: Callable[[int, int, int], Box]
    """`(i, height, width) -> Box` of example i."""


class _Begun(NamedTuple):
    """A batch under way."""

    item: dict[str, np.ndarray]
    """Its images are written by the tasks."""
    tasks: list[Callable[[], None]]
    """Each returns when it is done, or raises what went wrong."""


class _Prefetched:
    """Batches by number; when one is asked for, those that follow are begun too."""

    def __init__(
        self,
        source: Source,
        image_size: int,
        plan: Callable[[int], _Plan],
        workers: int | None,
        prefetch: int,
        stop: int | None = None,
    ):
        self._source, self._plan = source, plan
        self._shape = (image_size, image_size, source.image_shape[2])
        self._ahead, self._stop = prefetch, stop
        assert source.labels is not None  # see `_check`
        self._labels = functools.cache(source.labels)
        self._begun: dict[int, _Begun] = {}
        self._submit: Callable[..., Callable[[], None]]
        if workers == 0:
            self._submit, self._ahead = functools.partial, 0
        else:
            pool = ThreadPoolExecutor(workers or _cores(), "decoding")
            # What is begun is abandoned with its owner, and not waited for.
            weakref.finalize(self, pool.shutdown, wait=False, cancel_futures=True)
            self._submit = lambda *task: pool.submit(*task).result

    def get(self, number: int) -> dict[str, np.ndarray]:
        """The item of a batch, as soon as it is decoded."""
        end = number + 1 + self._ahead
        wanted = range(number, end if self._stop is None else min(end, self._stop))
        self._begun = {n: self._begun.get(n) or self._begin(n) for n in wanted}
        item, tasks = self._begun.pop(number)
        try:
            for finish in tasks:
                finish()
        except DecodeError:
            from jaxvision.data.image_files import verify

            verify(self._source)  # names all broken files at once, where it knows them
            raise
        return item

    def _begin(self, number: int) -> "_Begun":
        plan = self._plan(number)
        real = plan.examples != _PADDING
        images = np.zeros((len(real), *self._shape), np.uint8)
        labels = np.where(real, self._labels()[plan.examples], 0).astype(np.int32)
        rows = np.flatnonzero(real).tolist()
        tasks = [
            self._submit(_decode, self._source, plan, images, rows[i : i + 8])
            for i in range(0, len(rows), 8)
        ]
        return _Begun({"image": images, "label": labels}, tasks)


def _decode(source: Source, plan: _Plan, images: np.ndarray, rows: list[int]) -> None:
    """Fill some rows of a batch."""
    from jaxvision.data.jpeg import decode_box

    assert source.encoded is not None  # see `_check`
    for row in rows:
        i = int(plan.examples[row])
        try:
            decode_box(source.encoded(i), functools.partial(plan.crop, i), images[row])
        except (DecodeError, OSError) as error:
            raise DecodeError(
                f"image {i} of {source.name} cannot be decoded: {error}"
            ) from error


def _draws(seed: int, epoch: int, i: int) -> Iterator[float]:
    """22 uniform draws of example i in an epoch, the same for all versions of NumPy."""
    # i + 1, since 0 would give the stream of [seed, epoch], which is the order's.
    raw = np.random.PCG64([seed, epoch, i + 1]).random_raw(22)
    return iter(((raw >> np.uint64(11)) * 2.0**-53).tolist())


def _rows(batch_size: int, process_index: int, process_count: int) -> slice:
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fetch(transform: Transform):
    def fetch(resident, item, key):
        return {**item, "image": transform(key, item["image"])}

    return fetch


def _check(
    source: Source,
    batch_size: int,
    image_size: int,
    workers: int | None,
    process_index: int,
    process_count: int,
) -> None:
    if source.size == 0:
        raise UsageError(f"{source.name} is empty")
    check(
        (
            source.encoded is not None and source.labels is not None,
            f"{source.name} has no image files, so that it cannot be streamed: use "
            "the pipelines of sets in memory",
        ),
        (batch_size >= 1, f"batch size must be positive, got {batch_size}"),
        (image_size >= 1, f"image size must be positive, got {image_size}"),
        (
            workers is None or workers >= 0,
            f"workers must be a number of threads, or 0 for none, got {workers}",
        ),
        (
            0 <= process_index < process_count,
            f"process index must be from 0 to {process_count - 1}, got {process_index}",
        ),
        (
            process_count < 1 or batch_size % process_count == 0,
            f"batch size {batch_size} is not divisible by the {process_count} "
            "processes: use a multiple of them",
        ),
    )
