"""Requests of one image each, computed in batches.

While one batch is computed, the requests that arrive wait and are the next one.  So
nobody waits for company: a lone request is computed at once, and under load batches
grow to their limit by themselves.
"""

import asyncio
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxvision.errors import check
from jaxvision.runs import predictor
from jaxvision.runs.predictor import Prediction

Arrays = Mapping[str, np.ndarray]
Compute = Callable[[np.ndarray], Arrays]
"""`uint8 [N,S,T,C] -> predictions by name [N,…]`."""


def compiled(prediction: Prediction, batch_size: int) -> Compute:
    """A function of 1 to `batch_size` prepared images, whose programs are compiled.

    There are two: for one image, which should not cost as much as a batch, and for a
    batch, to which fewer images are filled up.
    """
    check((batch_size >= 1, f"batch_size must be positive, got {batch_size}"))
    program = predictor.compiled(prediction.call)
    arrays = jax.device_put((prediction.variables, prediction.frozen))

    def compute(images: np.ndarray) -> Arrays:
        filled = predictor.padded(images, 1 if len(images) == 1 else batch_size)
        found = program(*arrays, filled, np.int32(0))
        return {name: np.asarray(each)[: len(images)] for name, each in found.items()}

    for count in {1, batch_size}:
        shape = prediction.images(count)
        compute(np.zeros(shape.shape, shape.dtype))
    return compute


class Batcher:
    """Collects images for `compute`; for one event loop, in which `run` is a task."""

    def __init__(self, compute: Compute, batch_size: int):
        self._compute, self._batch_size = compute, batch_size
        self._waiting: asyncio.Queue[tuple[np.ndarray, asyncio.Future]] = (
            asyncio.Queue()
        )

    async def predict(self, image: np.ndarray) -> Arrays:
        """What is predicted of one prepared image [S,T,C], by name."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((image, future))
        return await future

    async def run(self) -> None:
        """Compute until cancelled.  An error goes to the requests of its batch."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._batch_size and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            images = np.stack([image for image, _ in batch])
            try:
                found = await asyncio.to_thread(self._compute, images)
            except Exception as error:  # of whatever kind; the others are still served
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for row, (_, future) in enumerate(batch):
                if not future.done():  # as when its client has gone
                    future.set_result({name: each[row] for name, each in found.items()})
