"""What loading costs: streamed photographs against PyTorch's, and CIFAR-10 in jit.

    python -m benchmarks.data --photos FOLDER --torch-python PATH \
        --tensorflow-python PATH
    python -m benchmarks.data --photos FOLDER      (against a plain Pillow loop)

Streaming: random crops of JPEG files at 224 pixels, as for ImageNet.  The peer is
`torch.utils.data.DataLoader` over torchvision's transforms of Pillow images: open,
random resized crop (bilinear), flip, to float, normalise.  Ours delivers uint8 crops;
flip and normalisation run in the jitted step and are timed separately.  A second peer
is tf.data, with `decode_and_crop_jpeg` and the fast inverse transform.  All sides read
the same files and take turns in one run.  Each PATH is a Python with PyTorch, NumPy and
Pillow, or with TensorFlow, since this environment has neither.  Rates "per core" are
images per second of CPU time without workers; with workers they are per second of wall
time.

Measured on 2 shared cores of an Intel Xeon, 200 photographs of ImageNet, 9 rounds: 341
images/s per core, 1.99 times the DataLoader's (1.80 to 2.47); with two workers 2.06
times (1.65 to 2.82).  On another day it was 1.85 and 2.17 times.  On an AMD EPYC,
before crops were resized as Pillow does (`data/feed/resizing.py`), it was 941 images/s
and 2.06 times (2.00 to 2.07), and 1.47 times tf.data's; in turns with that, 16 rounds
on a busy machine, the present crops have 0.89 of its images per core.  Of the time of
an image 0.7 are entropy decoding, which all sides do.  Flip and normalisation in the
jitted step take 0.1 ms an image, to be added where the training itself runs on the CPU.
In memory the ratio is 491.

In memory: how often `fetch` makes a batch of CIFAR-10's size, with flip and shift,
against how often ResNet-20 takes a training step on one.
"""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import cli, peers, photographs, records, timing
from benchmarks.engine import make_bare
from benchmarks.peers import data_pillow
from benchmarks.photographs import MEAN, STD
from experiments import cifar10_resnet20
from jaxvision import data
from jaxvision.data.feed.crops import DRAWS, random_resized_crop
from jaxvision.data.source import Source
from jaxvision.ops.augment import compose, normalise, random_flip

SIZE = 224

Rate = Callable[[int], tuple[float, float]]
"""`workers -> (images per second of wall time, of CPU time)` of one round."""


@dataclasses.dataclass(frozen=True)
class Config:
    photos: Path
    """A folder of JPEG files, searched in all depths."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: compare with a Pillow loop."""
    tensorflow_python: Path | None = None
    """Interpreter in which `import tensorflow` works; None: without tf.data."""
    rounds: int = 7
    """Turns of each side; the median of their ratios counts."""
    images: int = 640
    """Images of each turn of streaming; the files are repeated as needed."""
    batch_size: int = 32
    """Images in a streamed batch."""
    workers: tuple[int, ...] = (0, 2)
    """Numbers of workers to measure: threads of ours, processes of the peer."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    numbers = records.begin("data")
    numbers |= streaming(config)
    numbers |= in_memory(config.rounds)
    print(json.dumps(numbers, indent=2))
    records.write(numbers, config.output)


def streaming(config: Config) -> dict[str, Any]:
    """Images per second of ours, grain and the peer, and ours over the others."""
    files = photographs.find(config.photos)
    repeated = photographs.repeat(files, config.images)
    source = photographs.source(repeated)
    numbers: dict[str, Any] = {"photos": len(files), "peer": "Pillow"}
    with contextlib.ExitStack() as stack:
        peer = pillow_rate(repeated)
        if config.torch_python is not None:
            numbers["peer"] = "DataLoader"
            peer = stack.enter_context(
                other_rate(
                    config.torch_python, "data_torch.py", repeated, config.batch_size
                )
            )
        sides = {
            "ours": our_rate(source, config.batch_size),
            "grain": grain_rate(source, config.batch_size),
            "peer": peer,
        }
        if (python := config.tensorflow_python) is not None:
            sides["tf_data"] = stack.enter_context(
                other_rate(python, "data_tensorflow.py", repeated, config.batch_size)
            )
        for workers in config.workers:
            numbers |= _streaming_rounds(sides, workers, config.rounds)
    pipeline = _pipeline(source, config.batch_size, workers=0)
    item, key = next(pipeline.items()), jax.random.key(0)
    fetch = jax.jit(pipeline.fetch)
    seconds = timing.timer(lambda: fetch({}, item, key))
    rate = config.batch_size / seconds(config.images // config.batch_size)
    return numbers | {"stream_fetch_images_per_second": rate}


def _streaming_rounds(
    sides: dict[str, Rate], workers: int, rounds: int
) -> dict[str, float]:
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, rate in sides.items():
            wall, cpu = rate(workers)
            if turn > 0:  # the first round warms up
                rates[name].append(wall if workers else cpu)
        if turn > 0:
            latest = ", ".join(
                f"{name} {rate[-1]:,.0f}" for name, rate in rates.items()
            )
            print(f"streaming with {workers} workers: {latest} images/s")
    unit = f"{workers}_workers" if workers else "per_core"
    numbers = {
        f"stream_{name}_images_per_second_{unit}": statistics.median(values)
        for name, values in rates.items()
    }
    for name in sides.keys() - {"ours"}:
        ratios = timing.ratios(rates["ours"], rates[name])
        numbers |= timing.spread(f"stream_ratio_to_{name}_{unit}", ratios)
    return numbers


def _pipeline(source: Source, batch_size: int, workers: int):
    return data.train(
        source,
        batch_size,
        crop=random_resized_crop(SIZE),
        transform=compose(random_flip, normalise(MEAN, STD)),
        seed=0,
        workers=workers,
    )


def our_rate(source: Source, batch_size: int) -> Rate:
    def rate(workers: int) -> tuple[float, float]:
        pipeline = _pipeline(source, batch_size, workers)
        items = pipeline.items()
        return _rates(lambda: next(items), pipeline.num_batches, batch_size)

    return rate


def grain_rate(source: Source, batch_size: int) -> Rate:
    """The same decoder with the same crops under grain, threads for workers."""
    import grain

    from jaxvision.data.feed.jpeg import decode_box

    choose = random_resized_crop(SIZE).choose

    def load(i: int, generator: np.random.Generator) -> dict[str, Any]:
        def crop(height: int, width: int):
            draws = iter(generator.random(DRAWS).tolist())
            return choose(height, width, draws)

        image = np.empty((SIZE, SIZE, 3), np.uint8)
        assert source.encoded is not None
        decode_box(source.encoded(i), crop, image)
        return {"image": image, "label": np.int32(0)}

    def rate(workers: int) -> tuple[float, float]:
        examples = grain.MapDataset.range(source.size).seed(0).shuffle()
        examples = examples.random_map(load)
        options = grain.ReadOptions(workers, 4 * batch_size if workers else 0)
        batches = examples.to_iter_dataset(options).batch(batch_size)
        items = iter(batches)
        return _rates(lambda: next(items), source.size // batch_size, batch_size)

    return rate


def pillow_rate(files: list[Path]) -> Rate:
    load = data_pillow.make_load(SIZE, MEAN, STD)

    def rate(workers: int) -> tuple[float, float]:
        paths = iter(files)  # one process, whatever the workers
        return _rates(lambda: load(next(paths)), len(files), 1)

    return rate


@contextlib.contextmanager
def other_rate(
    python: Path, script: str, files: list[Path], batch_size: int
) -> Iterator[Rate]:
    """The rate of a script in `peers/`, run by another interpreter."""
    with peers.peer(python, script) as ask:
        ask("begin", [str(file) for file in files], batch_size, SIZE, MEAN, STD)
        yield partial(ask, "rate")


def in_memory(rounds: int) -> dict[str, float]:
    """Batches per second of `fetch` in jit, and training steps per second."""
    experiment = cifar10_resnet20.build(
        cifar10_resnet20.Config(dataset="synthetic:32x32x3")
    )
    experiment = experiment._replace(steps=8)
    train_images = make_bare(experiment)

    cifar = _cifar_like()
    prepare = normalise(cifar10_resnet20.MEAN, cifar10_resnet20.STD)
    pipeline = data.train(
        cifar,
        experiment.train.batch_size,
        transform=compose(cifar10_resnet20.random_shift(4), random_flip, prepare),
        seed=0,
    )
    resident = jax.device_put(pipeline.resident())
    items, fetch, key = pipeline.items(), jax.jit(pipeline.fetch), jax.random.key(0)

    seconds = timing.timer(lambda: fetch(resident, next(items), key))
    fetches, steps = [], []
    for turn in range(rounds + 1):
        fetched = 1 / seconds(200)
        trained = train_images() / pipeline.batch_size
        if turn > 0:
            fetches.append(fetched)
            steps.append(trained)
            print(f"in memory: {fetches[-1]:,.0f} batches/s, {steps[-1]:,.1f} steps/s")
    return {
        "memory_batches_per_second": statistics.median(fetches),
        "resnet20_steps_per_second": statistics.median(steps),
        **timing.spread("memory_ratio", timing.ratios(fetches, steps)),
    }


def _cifar_like() -> Source:
    few = data.load("synthetic:32x32x3").train
    rows = np.arange(50_000) % few.size

    def read() -> dict[str, np.ndarray]:
        return {name: array[rows] for name, array in few.read().items()}

    return few._replace(size=len(rows), read=read)


def _rates(call: Callable[[], Any], count: int, images: int) -> tuple[float, float]:
    """Images per second of wall time and of CPU time, over `count` calls."""
    watch = timing.Stopwatch()
    for _ in range(count):
        call()
    return watch.rates(count * images)


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
