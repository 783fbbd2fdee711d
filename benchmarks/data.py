"""What data costs: streamed photographs against PyTorch's loader, and CIFAR-10 in jit.

    python -m benchmarks.data --photos FOLDER --torch-python PATH \
        --tensorflow-python PATH
    python -m benchmarks.data --photos FOLDER      (against a plain Pillow loop)

Streaming: random crops of JPEG files at 224 pixels, as for ImageNet.  The peer is
`torch.utils.data.DataLoader` over the transforms that torchvision makes of Pillow
images: open, random-resized-crop (bilinear), flip, to float, normalise.  Ours delivers
uint8 crops; flip and normalisation run in the jitted step, and are timed apart.  A
second peer is tf.data, with `decode_and_crop_jpeg` by the fast transform.  All sides
read the same files, in turns, in the same run.  Each PATH is a Python with PyTorch,
NumPy and Pillow, or with TensorFlow, since this environment has neither.  Rates "per
core" are images per second of CPU time with no workers; with workers they are of wall
time.

Measured on 2 shared and busy cores of an AMD EPYC, 200 photographs of ImageNet, 5
rounds: 941 images/s per core, 2.03 times the DataLoader's (1.79 to 2.39) and 1.47 times
tf.data's (1.14 to 1.86); with two workers 2.15 and 2.00 times.  Seven rounds on the
quiet machine gave 2.06 (2.00 to 2.07) for the DataLoader.  Of the millisecond, 0.7 are
entropy decoding, which all sides do.  Flip and normalisation in the jitted step take
0.1 ms an image; whoever trains on the CPU itself may add that.  In memory the ratio is
763.

In memory: how often `fetch` makes a batch of CIFAR-10's size, with flip and shift,
against how often ResNet-20 takes a training step on one.
"""

import contextlib
import dataclasses
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks import peers
from benchmarks.engine import make_bare
from experiments import cifar10_resnet20
from jaxvision import data
from jaxvision.data.feed.crops import DRAWS, random_resized_crop
from jaxvision.data.source import Source
from jaxvision.errors import UsageError
from jaxvision.ops.augment import compose, normalise, random_flip
from jaxvision.runs import record

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Rate = Callable[[int], tuple[float, float]]
"""`workers -> (images per second of wall time, of CPU time)` of one round."""


@dataclasses.dataclass(frozen=True)
class Config:
    photos: Path
    """A folder of JPEG files, searched in all depths."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: compare with a Pillow loop."""
    tensorflow_python: Path | None = None
    """Interpreter in which `import tensorflow` works; None: do without."""
    rounds: int = 7
    """Turns of each side; the median of their ratios counts."""
    images: int = 640
    """Of each turn of streaming; the files are repeated as needed."""
    batch_size: int = 32
    """Images in a streamed batch."""
    workers: tuple[int, ...] = (0, 2)
    """Threads of ours, processes of the peer."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    numbers: dict[str, Any] = record.provenance("benchmarks.data", sys.argv[1:])
    numbers |= {"hardware": record.hardware(jax.devices()[0].device_kind, 1)}
    numbers |= streaming(config)
    numbers |= in_memory(config.rounds)
    text = json.dumps(numbers, indent=2)
    print(text)
    if config.output is not None:
        config.output.write_text(text + "\n", encoding="utf-8")


def streaming(config: Config) -> dict[str, Any]:
    """Images per second of ours, grain and the peer, and ours over the others."""
    files = sorted(
        path
        for path in config.photos.rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg")
    )
    if not files:
        raise UsageError(
            f"no .jpg or .jpeg below {config.photos}: choose another folder"
        )
    repeated = list(itertools.islice(itertools.cycle(map(str, files)), config.images))
    source = Source(
        name="photos",
        size=len(repeated),
        image_shape=(None, None, 3),
        class_names=("photo",),
        read=dict,
        targets=lambda: {"label": np.zeros(len(repeated), np.int32)},
        encoded=lambda i: Path(repeated[i]).read_bytes(),
    )
    numbers: dict[str, Any] = {"photos": len(files), "peer": "Pillow"}
    with contextlib.ExitStack() as stack:
        peer = pillow_rate(repeated)
        input = repeated, config.batch_size
        if config.torch_python is not None:
            numbers["peer"] = "DataLoader"
            peer = stack.enter_context(other_rate(config.torch_python, TORCH, *input))
        sides = {
            "ours": our_rate(source, config.batch_size),
            "grain": grain_rate(source, config.batch_size),
            "peer": peer,
        }
        if (python := config.tensorflow_python) is not None:
            tf_data = stack.enter_context(other_rate(python, TENSORFLOW, *input))
            sides["tf_data"] = tf_data
        for workers in config.workers:
            numbers |= _streaming_rounds(sides, workers, config.rounds)
    pipeline = _pipeline(source, config.batch_size, workers=0)
    item, key = next(pipeline.items()), jax.random.key(0)
    fetch = jax.jit(pipeline.fetch)
    seconds = _seconds(lambda: fetch({}, item, key), config.images // config.batch_size)
    rate = config.batch_size / seconds
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
        ratios = [a / b for a, b in zip(rates["ours"], rates[name], strict=True)]
        numbers |= {
            f"stream_ratio_to_{name}_{unit}": statistics.median(ratios),
            f"stream_ratio_to_{name}_{unit}_min": min(ratios),
            f"stream_ratio_to_{name}_{unit}_max": max(ratios),
        }
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


def pillow_rate(files: list[str]) -> Rate:
    scope: dict[str, Any] = {}
    exec(PILLOW, scope)

    def rate(workers: int) -> tuple[float, float]:
        paths = iter(files)  # one process, whatever the workers
        return _rates(lambda: scope["load"](next(paths)), len(files), 1)

    return rate


PILLOW = f"""
import math, random
import numpy as np
from PIL import Image

MEAN, STD = {MEAN}, {STD}

def draw_box(width, height):
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        shape = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height

def flip():
    return random.random() < 0.5

def finish(image):
    pixels = np.asarray(image, np.float32) / 255
    return (pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)

def load(path):
    with open(path, "rb") as file:
        image = Image.open(file).convert("RGB")
    image = image.crop(draw_box(*image.size)).resize(({SIZE}, {SIZE}), Image.BILINEAR)
    if flip():
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    return finish(image)
"""

TORCH = f"""
import time
import torch
{PILLOW}
torch.set_num_threads(1)

def begin(given, size):
    global files, batch_size
    files, batch_size = given, size

# The draws, ToTensor and Normalize as torchvision writes them.
def draw_box(width, height):
    log_ratio = torch.log(torch.tensor((3 / 4, 4 / 3)))
    for _ in range(10):
        area = width * height * torch.empty(1).uniform_(0.08, 1).item()
        shape = torch.exp(torch.empty(1).uniform_(log_ratio[0], log_ratio[1])).item()
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            top = torch.randint(0, height - h + 1, size=(1,)).item()
            left = torch.randint(0, width - w + 1, size=(1,)).item()
            return left, top, left + w, top + h
    return 0, 0, width, height

def flip():
    return torch.rand(1) < 0.5

def finish(image):
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    pixels = pixels.permute((2, 0, 1)).contiguous().to(torch.float32).div(255)
    mean = torch.as_tensor(MEAN, dtype=pixels.dtype).view(-1, 1, 1)
    std = torch.as_tensor(STD, dtype=pixels.dtype).view(-1, 1, 1)
    return pixels.clone().sub_(mean).div_(std)

class Photos(torch.utils.data.Dataset):
    def __len__(self):
        return len(files)
    def __getitem__(self, i):
        return load(files[i]), 0

loaders = {{}}

def rate(workers):
    if workers not in loaders:
        loaders[workers] = torch.utils.data.DataLoader(
            Photos(), batch_size, shuffle=True, drop_last=True, num_workers=workers,
            persistent_workers=workers > 0,
        )
    wall, cpu = time.perf_counter(), time.process_time()
    images = sum(len(labels) for _, labels in loaders[workers])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return images / wall, images / cpu
"""


# As TensorFlow's own ImageNet pipelines do it: the file is decoded no further than the
# crop, in `workers` threads, or in the one that asks.
TENSORFLOW = f"""
import os, time
os.environ |= {{"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}}
import tensorflow as tf

def begin(given, size):
    global files, batch_size
    files, batch_size = given, size

mean, std = tf.constant({MEAN}), tf.constant({STD})

def load(path):
    content = tf.io.read_file(path)
    shape = tf.image.extract_jpeg_shape(content)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        shape, tf.zeros([1, 0, 4]), aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0), max_attempts=10, use_image_if_no_bounding_boxes=True,
    )
    window = tf.concat([begin[:2], size[:2]], axis=0)
    image = tf.image.decode_and_crop_jpeg(
        content, window, channels=3, dct_method="INTEGER_FAST"
    )
    image = tf.image.resize(image, ({SIZE}, {SIZE}))
    return (tf.image.random_flip_left_right(image) / 255 - mean) / std

def rate(workers):
    images = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files))
    images = images.map(load, workers or None).batch(batch_size, drop_remainder=True)
    if workers:
        images = images.prefetch(4)
    options = tf.data.Options()
    options.threading.private_threadpool_size = max(workers, 1)
    batches = images.with_options(options)
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(len(batch) for batch in batches)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return count / wall, count / cpu
"""


@contextlib.contextmanager
def other_rate(
    python: Path, script: str, files: list[str], size: int
) -> Iterator[Rate]:
    """The rate of a script that runs in another environment."""
    with peers.peer(python, script) as ask:
        ask("begin", files, size)
        yield partial(ask, "rate")


def in_memory(rounds: int) -> dict[str, float]:
    """Batches per second of `fetch` in jit, and training steps per second."""
    experiment = cifar10_resnet20.build(
        cifar10_resnet20.Config(dataset="synthetic:32x32x3")
    )
    experiment = experiment._replace(steps=8)
    step = make_bare(experiment)

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

    fetches, steps = [], []
    for turn in range(rounds + 1):
        seconds = _seconds(lambda: fetch(resident, next(items), key), 200)
        rate = step() / pipeline.batch_size
        if turn > 0:
            fetches.append(1 / seconds)
            steps.append(rate)
            print(f"in memory: {fetches[-1]:,.0f} batches/s, {steps[-1]:,.1f} steps/s")
    ratios = [f / s for f, s in zip(fetches, steps, strict=True)]
    return {
        "memory_batches_per_second": statistics.median(fetches),
        "resnet20_steps_per_second": statistics.median(steps),
        "memory_ratio": statistics.median(ratios),
        "memory_ratio_min": min(ratios),
        "memory_ratio_max": max(ratios),
    }


def _cifar_like() -> Source:
    few = data.load("synthetic:32x32x3").train
    rows = np.arange(50_000) % few.size

    def read() -> dict[str, np.ndarray]:
        return {name: array[rows] for name, array in few.read().items()}

    return few._replace(size=len(rows), read=read)


def _rates(call: Callable[[], Any], count: int, images: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return count * images / wall, count * images / cpu


def _seconds(call: Callable[[], Any], count: int) -> float:
    """Of one call, over `count` of them, when the device is done with all."""
    jax.block_until_ready(call())
    started = time.perf_counter()
    for _ in range(count):
        result = call()
    jax.block_until_ready(result)
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
