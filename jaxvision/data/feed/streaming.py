"""Batches that are decoded as they are needed.

The host decodes, crops and resizes, in threads and a few batches ahead of their use;
what remains, from flips to normalisation, happens inside the jitted step on uint8
images (see `types.Pipeline`).  The n-th batch is a function of its plan, so neither
threads nor processes nor hosts can change what comes.

Threads rather than worker processes or grain.  Decoding and resizing release Python's
lock: of the millisecond that a photograph costs at 224 pixels, 0.07 ms hold it, which
bounds the gain at some 15 cores, and nothing is pickled or copied between processes.
grain over the same decoder, in threads too, delivers 6 % fewer images per core
(`benchmarks/data.py`); its processes restore a state only with the same number
of them.  What it would do for us, order and prefetching, is a page of code here.
"""

import functools
import hashlib
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from jaxvision.data.feed.crops import DRAWS, Box, Crop, move_objects
from jaxvision.data.feed.preparation import prepare
from jaxvision.data.files.decoding import DecodeError
from jaxvision.data.source import Source, fingerprint
from jaxvision.types import MAPS, UNKNOWN

PADDING = -1


class Plan(NamedTuple):
    """The examples of a batch, and the random numbers of their crops."""

    examples: np.ndarray
    """int32 [B]: their indices; `PADDING` for a row of zeros."""
    draws: Callable[[int, int], list[float]]
    """`(row, example) -> draws`: the random numbers of that row's crop."""


def draws(seed: int, epoch: int, example: int, repeat: int = 0) -> list[float]:
    """The random numbers of an example's crop, the same in all NumPy versions."""
    # example + 1, since 0 would give the stream of [seed, epoch], which is the order's.
    entropy = [seed, epoch, example + 1, *([repeat] if repeat else [])]
    raw = np.random.PCG64(entropy).random_raw(DRAWS)
    return ((raw >> np.uint64(11)) * 2.0**-53).tolist()


def stream(
    source: Source,
    crop: Crop,
    plan: Callable[[int], Plan],
    rows: slice,
    *,
    canvas: tuple[int, int] | None = None,
    workers: int | None,
    prefetch: int,
    stop: int | None = None,
) -> Callable[[int], dict[str, np.ndarray]]:
    """`number -> {"image": uint8 [B,S,T,C], …}`, the given rows of a planned batch.

    When a batch is asked for, those that follow are begun, up to `stop`.  Its images
    are those of the files, or of `source.read` where there are none.

    With a `canvas`, annotations stay those of the original images, and maps of them lie
    in the upper left corner of as many pixels.  The item then also has `size`, int32
    [B,2], of the originals, and `taken` as a `types.Batch`.
    """
    examples = functools.cache(lambda: _Examples(source, crop, canvas))
    return _Prefetched(source, examples, plan, rows, workers, prefetch, stop).get


def blank(
    source: Source, crop: Crop, canvas: tuple[int, int] | None, count: int
) -> dict[str, np.ndarray]:
    """An item of `count` rows of padding, with all that the examples have."""
    return _Examples(source, crop, canvas).blank(count)


def quick_fingerprint(source: Source) -> str:
    """16 hex digits that change with the targets, the class names or most of the files.

    Reads 64 files, and their maps, spread evenly over the source: a set that is
    streamed is too large to be read for this.  Of a source without files, all is read.
    """
    if source.encoded is None:
        return fingerprint(source)
    digest = hashlib.sha256(repr((source.size, source.class_names)).encode())
    for name, array in sorted(_targets(source).items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array))
    for i in np.unique(np.linspace(0, source.size - 1, 64).astype(int)).tolist():
        digest.update(hashlib.sha256(source.encoded(i)).digest())
        for name, values in sorted((source.maps(i) if source.maps else {}).items()):
            digest.update(f"{name} {values.shape};".encode())
            digest.update(np.ascontiguousarray(values))
    return digest.hexdigest()[:16]


class _Begun(NamedTuple):
    """A batch that is being decoded."""

    item: dict[str, np.ndarray]
    """Filled by the tasks."""
    tasks: list[Callable[[], None]]
    """Each returns when it is done, or raises what went wrong."""


class _Prefetched:
    """Batches by number; when one is asked for, those that follow are begun too."""

    def __init__(
        self,
        source: Source,
        examples: Callable[[], "_Examples"],
        plan: Callable[[int], Plan],
        rows: slice,
        workers: int | None,
        prefetch: int,
        stop: int | None,
    ):
        self._source, self._plan, self._rows = source, plan, rows
        self._ahead, self._stop = prefetch, stop
        self._examples = examples
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
            from jaxvision.data.files.image_files import verify

            verify(self._source)  # names all broken files at once, where it knows them
            raise
        return item

    def _begin(self, number: int) -> _Begun:
        plan, examples = self._plan(number), self._examples()
        of_batch = range(len(plan.examples))[self._rows]
        item = examples.blank(len(of_batch))
        real = [
            (row, of, int(plan.examples[of]))
            for row, of in enumerate(of_batch)
            if plan.examples[of] != PADDING
        ]

        def fill(part: list[tuple[int, int, int]]) -> None:
            for row, of, example in part:
                examples.fill(item, row, example, plan.draws(of, example))

        parts = [real[i : i + 8] for i in range(0, len(real), 8)]
        return _Begun(item, [self._submit(fill, part) for part in parts])


class _Examples:
    """Examples one by one, as rows of items."""

    def __init__(
        self, source: Source, crop: Crop, canvas: tuple[int, int] | None = None
    ):
        self._name, self._channels = source.name, source.image_shape[2]
        self._crop, self._canvas = crop, canvas
        if source.encoded is not None:
            self._image: Callable[[int], bytes | np.ndarray] = source.encoded
            self._maps = source.maps or (lambda i: {})
            self._targets = _targets(source)
        else:
            arrays = dict(source.read())
            images = arrays.pop("image")
            maps = {name: arrays.pop(name) for name in MAPS if name in arrays}
            self._image = images.__getitem__
            self._maps = lambda i: {name: array[i] for name, array in maps.items()}
            self._targets = arrays
        self._kinds = {
            name: (array.shape[:-2], array.dtype)
            for name, array in self._maps(0).items()
        }

    def blank(self, count: int) -> dict[str, np.ndarray]:
        """An item of `count` rows of padding."""
        size = self._crop.size
        item = {"image": np.zeros((count, *size, self._channels), np.uint8)}
        for name, array in self._targets.items():
            item[name] = np.zeros((count, *array.shape[1:]), array.dtype)
        if self._canvas is not None:
            item["size"] = np.zeros((count, 2), np.int32)
            item["taken"] = np.zeros((count, 4), np.float32)
            item["taken"][:, 2:] = size[::-1]
        for name, (shape, dtype) in self._kinds.items():
            item[name] = np.zeros((count, *shape, *(self._canvas or size)), dtype)
        if "classes" in item:
            item["classes"][:] = -1
        return item

    def fill(
        self,
        item: dict[str, np.ndarray],
        row: int,
        example: int,
        random: list[float],
    ) -> None:
        """Write an example into a row."""

        image = item["image"][row]
        targets = {name: array[example] for name, array in self._targets.items()}
        crop = self._crop.of(targets)
        try:
            content = self._image(example)
            box, height, width = prepare(content, crop, random, image)
            maps = self._maps(example)
        except (DecodeError, OSError) as error:
            raise DecodeError(
                f"image {example} of {self._name} cannot be decoded: {error}"
            ) from error
        if self._canvas is not None:
            self._check_fits(example, height, width)
            item["size"][row] = height, width
            item["taken"][row] = box.corners()
            box = Box(0, 0, *self._canvas)
        elif (box, image.shape[:2]) != (Box(0, 0, height, width), (height, width)):
            targets = move_objects(targets, box, self._crop.size)
        for name, value in targets.items():
            item[name][row] = value
        for name, value in maps.items():
            outside = UNKNOWN if name == "segmentation" else 0
            cut_map(value, box, item[name][row], outside)
        if "instances" in maps and "classes" in targets:
            item["instances"][row][targets["classes"] < 0] = 0

    def _check_fits(self, example: int, height: int, width: int) -> None:
        assert self._canvas is not None
        if height > self._canvas[0] or width > self._canvas[1]:
            raise DecodeError(
                f"image {example} of {self._name} is {height}×{width} (height × width) "
                f"and larger than the canvas of {self._canvas[0]}×{self._canvas[1]}: "
                "give the evaluation a larger one"
            )


def cut_map(values: np.ndarray, box: Box, out: np.ndarray, outside: int) -> None:
    """Fill `out` [...,S,T] with `box` of `values` [...,H,W]: the nearest of each."""
    grids = []
    for start, length, size in (
        (box.top, box.height, out.shape[-2]),
        (box.left, box.width, out.shape[-1]),
    ):
        centres = start * size + (np.arange(size) + 0.5) * length
        grids.append((centres // size).astype(int))
    rows, columns = grids
    height, width = values.shape[-2:]
    inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    taken = values[..., rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    out[:] = outside
    out[..., *inside] = taken[..., *inside]


def _targets(source: Source) -> dict[str, np.ndarray]:
    if source.targets is not None:
        return source.targets()
    return {name: value for name, value in source.read().items() if name != "image"}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
