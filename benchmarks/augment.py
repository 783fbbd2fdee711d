"""What augmentation costs: every transform in jit against Pillow and OpenCV.

    python -m benchmarks.augment [--output FILE]

All sides get the same uint8 images, which are in memory, and take turns in one run; the
median of the rounds counts.  The peers work image by image and draw at random as
torchvision's transforms of Pillow images do; OpenCV has one thread.  Rates are images
per second of CPU time ("per core"); for ours also of wall time, on all cores or on the
accelerator, where the rates per core are meaningless.

There are two recipes: flip, crop with four pixels of padding, and cutout at 32 pixels,
as for CIFAR-10; and RandAugment, then mixup or CutMix, at 224 pixels, whose rate is
compared with the one at which ResNet-18 is trained on the same device.

The rate at which scenes of 64 pixels are drawn on the host is compared with the one at
which a small detector is trained on them (`detector`), both per core.

Measured on 2 cores of an AMD EPYC, 3 short rounds: the recipe of CIFAR-10 makes 1.16 M
images/s, 11 times Pillow's per core; that of ImageNet 396, 21 times what ResNet-18
consumes.  At 224 pixels policies and antialiased crops are slower than Pillow's.
"""

import dataclasses
import itertools
import json
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks import cli, detector, records, timing
from benchmarks.engine import make_bare
from benchmarks.photographs import MEAN, STD
from experiments import tiny_imagenet_resnet18
from jaxvision.data.made import scenes
from jaxvision.ops import augment
from jaxvision.ops.augment import Transform, compose

CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Config:
    rounds: int = 5
    """Turns of each side."""
    seconds: float = 0.3
    """Duration of each turn."""
    batch_32: int = 1024
    """Images in a batch of 32 pixels."""
    batch_224: int = 32
    """Images in a batch of 224 pixels, also of ResNet-18."""
    only: str = ""
    """Time only what has this in its name, such as scenes; empty: everything."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


class Contest(NamedTuple):
    """A transform of a batch, and the same of one image where a library has it."""

    ours: Transform
    pillow: Callable[[Image.Image], Any] | None = None
    opencv: Callable[[np.ndarray], Any] | None = None


def main(config: Config) -> None:
    numbers = records.begin("augment")
    cv2.setNumThreads(1)
    for side, batch_size in ((32, config.batch_32), (224, config.batch_224)):
        batch = _batch(side, batch_size)
        for name, contest in contests(side).items():
            if config.only in name:
                numbers |= _rounds(f"{name}_{side}", contest, batch, config)
    if config.only in "imagenet_recipe":
        numbers |= training(config)
    if config.only in "scenes":
        numbers |= detection(config)
    print(json.dumps(numbers, indent=2))
    records.write(numbers, config.output)


def contests(side: int) -> dict[str, Contest]:
    """By the name of the transform; `side` of the images is 32 or 224."""
    padding, square, kernel = side // 8, side // 2, side // 10 // 2 * 2 + 1
    return {
        "flip": Contest(
            augment.random_flip,
            lambda image: _half(image, ImageOps.mirror),
            lambda image: _half(image, lambda image: cv2.flip(image, 1)),
        ),
        "crop": Contest(
            augment.random_crop(side, padding=padding),
            lambda image: _crop(ImageOps.expand(image, padding), side),
            lambda image: _window(
                cv2.copyMakeBorder(
                    image, padding, padding, padding, padding, cv2.BORDER_CONSTANT
                ),
                side,
            ),
        ),
        "resized_crop": Contest(
            augment.random_resized_crop(side),
            lambda image: image.resize(
                (side, side), Image.Resampling.BILINEAR, _box(side)
            ),
            lambda image: _resized(image, _box(side)),
        ),
        "affine": Contest(
            augment.random_affine(degrees=15, translation=0.1, zoom=(0.8, 1.25)),
            lambda image: image.transform(
                image.size,
                Image.Transform.AFFINE,
                tuple(_matrix(side)[:2].ravel()),
                Image.Resampling.BILINEAR,
            ),
            lambda image: cv2.warpAffine(image, _matrix(side)[:2], (side, side)),
        ),
        "perspective": Contest(
            augment.random_perspective(),
            lambda image: image.transform(
                image.size,
                Image.Transform.PERSPECTIVE,
                tuple(_homography(side).ravel()[:8]),
                Image.Resampling.BILINEAR,
            ),
            lambda image: cv2.warpPerspective(image, _homography(side), (side, side)),
        ),
        "colour_jitter": Contest(augment.colour_jitter(probability=1), _jitter),
        "greyscale": Contest(
            augment.random_greyscale(0.5),
            lambda image: _half(image, lambda image: image.convert("L").convert("RGB")),
            lambda image: _half(
                image,
                lambda image: cv2.cvtColor(
                    cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB
                ),
            ),
        ),
        "blur": Contest(
            augment.gaussian_blur(kernel=kernel, probability=1),
            lambda image: image.filter(
                ImageFilter.GaussianBlur(random.uniform(0.1, 2))
            ),
            lambda image: cv2.GaussianBlur(
                image, (kernel, kernel), random.uniform(0.1, 2)
            ),
        ),
        "noise": Contest(augment.gaussian_noise(), None, _noisy),
        "cutout": Contest(
            augment.cutout(square), None, lambda image: _cutout(image, square)
        ),
        "random_erasing": Contest(augment.random_erasing(1.0), None, _erased),
        "rand_augment": Contest(
            augment.rand_augment(),
            lambda image: _operated(_operated(image, 0.9), 0.9),
        ),
        "trivial_augment": Contest(
            augment.trivial_augment(),
            lambda image: _operated(image, random.randint(0, 30) / 30),
        ),
        "auto_augment": Contest(augment.auto_augment()),
        "mixup": Contest(compose(augment.normalise(MEAN, STD), augment.mixup(CLASSES))),
        "cutmix": Contest(augment.cutmix(CLASSES)),
        "cifar_recipe": Contest(
            compose(
                augment.random_flip,
                augment.random_crop(side, padding=padding),
                augment.cutout(square),
            ),
            lambda image: _cutout(
                np.array(
                    _crop(ImageOps.expand(_half(image, ImageOps.mirror), padding), side)
                ),
                square,
            ),
        ),
    }


def training(config: Config) -> dict[str, float]:
    """Rates of the recipe for ImageNet and of training ResNet-18."""
    base = tiny_imagenet_resnet18.Config(
        dataset="synthetic:224x224x3", batch_size=config.batch_224
    )
    step = make_bare(tiny_imagenet_resnet18.build(base)._replace(steps=2))
    recipe = compose(
        augment.random_flip,
        augment.rand_augment(),
        augment.normalise(MEAN, STD),
        augment.one_of(augment.mixup(CLASSES), augment.cutmix(CLASSES)),
    )
    ours = _ours(recipe, _batch(224, config.batch_224))
    rates, steps = [], []
    for _ in range(config.rounds):
        rates.append(ours(config.seconds)[0])
        steps.append(step())
        print(f"recipe {rates[-1]:,.0f}, ResNet-18 {steps[-1]:,.1f} images/s")
    return {
        "imagenet_recipe_images_per_second": statistics.median(rates),
        "resnet18_images_per_second": statistics.median(steps),
        **timing.spread("imagenet_recipe_ratio", timing.ratios(rates, steps)),
    }


def detection(config: Config) -> dict[str, float]:
    """Rates at which scenes are drawn and at which a detector is trained on them."""
    batch_size, numbers = 64, itertools.count()
    drawn = [scenes.scene(next(numbers)) for _ in range(8 * batch_size)]
    batches = [
        {
            name: np.stack([scene[name] for scene in drawn[first : first + batch_size]])
            for name in ("image", "boxes", "classes")
        }
        for first in range(0, len(drawn), batch_size)
    ]
    state, step = detector.make_step()

    def train(number: int) -> None:
        nonlocal state
        state, loss = step(state, batches[number % len(batches)])
        loss.block_until_ready()

    sides = {
        "drawn": _repeated(lambda _: scenes.scene(next(numbers)), 1),
        "trained": _repeated(train, batch_size),
    }
    train(0)  # compiles
    walls: dict[str, list[float]] = {side: [] for side in sides}
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(config.rounds):
        for side, rate in sides.items():
            wall, cpu = rate(config.seconds)
            walls[side].append(wall)
            rates[side].append(cpu)
    ratios = timing.ratios(rates["drawn"], rates["trained"])
    found = {
        "scenes_drawn_per_second_per_core": statistics.median(rates["drawn"]),
        "scenes_trained_per_second_per_core": statistics.median(rates["trained"]),
        "scenes_trained_per_second": statistics.median(walls["trained"]),
        **timing.spread("scenes_ratio_per_core", ratios),
    }
    print(
        f"{'scenes':24}"
        + ", ".join(f"{side} {statistics.median(v):,.0f}" for side, v in rates.items())
        + f" scenes/s per core; trained {statistics.median(walls['trained']):,.0f}/s"
    )
    return found


Rate = Callable[[float], tuple[float, float]]
"""`seconds -> (images per second of wall time, of CPU time)`."""


def _rounds(
    name: str, contest: Contest, batch: dict[str, np.ndarray], config: Config
) -> dict[str, float]:
    sides: dict[str, Rate] = {"ours": _ours(contest.ours, batch)}
    if contest.pillow is not None:
        pictures = [Image.fromarray(image) for image in batch["image"]]
        sides["pillow"] = _one_by_one(contest.pillow, pictures)
    if contest.opencv is not None:
        sides["opencv"] = _one_by_one(contest.opencv, list(batch["image"]))
    walls: list[float] = []
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(config.rounds):
        for side, rate in sides.items():
            wall, cpu = rate(config.seconds)
            rates[side].append(cpu)
            if side == "ours":
                walls.append(wall)
    numbers = {f"{name}_ours_images_per_second": statistics.median(walls)}
    for side, values in rates.items():
        numbers[f"{name}_{side}_images_per_second_per_core"] = statistics.median(values)
        if side != "ours":
            ratios = timing.ratios(rates["ours"], values)
            numbers[f"{name}_ratio_to_{side}_per_core"] = statistics.median(ratios)
    print(
        f"{name:24}"
        + ", ".join(f"{side} {statistics.median(v):,.0f}" for side, v in rates.items())
        + f" images/s per core; ours {statistics.median(walls):,.0f} images/s"
    )
    return numbers


def _ours(transform: Transform, batch: dict[str, np.ndarray]) -> Rate:
    step = jax.jit(lambda key, number, batch: transform(_fold(key, number), batch))
    arrays = jax.device_put(batch)
    key = jax.random.key(0)
    jax.block_until_ready(step(key, 0, arrays))
    return _repeated(
        lambda number: jax.block_until_ready(step(key, number, arrays)),
        len(batch["image"]),
    )


def _fold(key: jax.Array, number: Any) -> jax.Array:
    return jax.random.fold_in(key, jnp.asarray(number))


def _one_by_one(change: Callable[[Any], Any], images: list[Any]) -> Rate:
    def sixteen(number: int) -> None:
        for index in range(16 * number, 16 * number + 16):
            change(images[index % len(images)])

    return _repeated(sixteen, 16)


def _repeated(action: Callable[[int], Any], images: int) -> Rate:
    """The rate of an action, which is given its number and makes `images` images."""

    def rate(seconds: float) -> tuple[float, float]:
        watch, count = timing.Stopwatch(), 0
        while watch.seconds() < seconds:
            action(count)
            count += 1
        return watch.rates(count * images)

    return rate


def _batch(side: int, count: int) -> dict[str, np.ndarray]:
    """Smooth noise, whose pixel values vary about as much as those of a photograph."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    images = np.stack([cv2.resize(image, (side, side)) for image in coarse])
    labels = generator.integers(0, CLASSES, count)
    return {"image": images, "label": labels.astype(np.int32)}


# The peers: functions of one image, which make their own random draws.


def _half(image: Any, change: Callable[[Any], Any]) -> Any:
    return change(image) if random.random() < 0.5 else image


def _crop(image: Image.Image, side: int) -> Image.Image:
    x, y = (random.randint(0, size - side) for size in image.size)
    return image.crop((x, y, x + side, y + side))


def _window(image: np.ndarray, side: int) -> np.ndarray:
    y, x = (random.randint(0, size - side) for size in image.shape[:2])
    return np.ascontiguousarray(image[y : y + side, x : x + side])


def _box(side: int) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = side * side * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= side and 0 < height <= side:
            x, y = random.randint(0, side - width), random.randint(0, side - height)
            return x, y, x + width, y + height
    return 0, 0, side, side


def _resized(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    x0, y0, x1, y1 = box
    return cv2.resize(image[y0:y1, x0:x1], image.shape[:2])


def _matrix(side: int) -> np.ndarray:
    angle = math.radians(random.uniform(-15, 15))
    zoom = math.exp(random.uniform(-0.22, 0.22))
    a, b, middle = zoom * math.cos(angle), zoom * math.sin(angle), side / 2
    x, y = (random.uniform(-0.1, 0.1) * side for _ in range(2))
    return np.array(
        [
            [a, -b, middle - a * middle + b * middle + x],
            [b, a, middle - b * middle - a * middle + y],
            [0, 0, 1],
        ]
    )


def _homography(side: int) -> np.ndarray:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * side
    draws = [[random.random(), random.random()] for _ in range(4)]
    inwards = np.array(draws, np.float32) * side / 4
    return cv2.getPerspectiveTransform(np.abs(corners - inwards), corners)


def _jitter(image: Image.Image) -> Image.Image:
    """Torchvision's ColorJitter, but always in the same order."""
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = kind(image).enhance(random.uniform(0.2, 1.8))
    hue, saturation, value = image.convert("HSV").split()
    turned = np.array(hue) + np.uint8(random.randint(0, 255))
    bands = (Image.fromarray(turned), saturation, value)
    return Image.merge("HSV", bands).convert("RGB")


def _noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.randn(*image.shape).astype(np.float32) * random.uniform(0, 25)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _cutout(image: np.ndarray, side: int) -> np.ndarray:
    y, x = (random.randrange(size) - side // 2 for size in image.shape[:2])
    image = image.copy()
    image[max(y, 0) : y + side, max(x, 0) : x + side] = 0
    return image


def _erased(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * random.uniform(0.02, 0.4)
        ratio = math.exp(random.uniform(math.log(0.3), -math.log(0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            y, x = random.randint(0, height - h), random.randint(0, width - w)
            image = image.copy()
            image[y : y + h, x : x + w] = np.random.randint(0, 256, (h, w, 3))
            break
    return image


def _operated(image: Image.Image, strength: float) -> Image.Image:
    """One operation of RandAugment, drawn at random."""
    sign = random.choice((-1, 1))
    signed, factor = sign * strength, 1 + 0.9 * sign * strength
    grey = (128, 128, 128)

    def moved(*numbers: float) -> Image.Image:
        return image.transform(
            image.size, Image.Transform.AFFINE, numbers, fillcolor=grey
        )

    shift = 150 / 331 * image.width * signed
    operations: list[Callable[[], Image.Image]] = [
        lambda: image,
        lambda: moved(1, 0.3 * signed, 0, 0, 1, 0),
        lambda: moved(1, 0, 0, 0.3 * signed, 1, 0),
        lambda: moved(1, 0, shift, 0, 1, 0),
        lambda: moved(1, 0, 0, 0, 1, shift),
        lambda: image.rotate(30 * signed, fillcolor=grey),
        lambda: ImageEnhance.Brightness(image).enhance(factor),
        lambda: ImageEnhance.Contrast(image).enhance(factor),
        lambda: ImageEnhance.Color(image).enhance(factor),
        lambda: ImageEnhance.Sharpness(image).enhance(factor),
        lambda: ImageOps.posterize(image, 8 - round(4 * strength)),
        lambda: ImageOps.solarize(image, round(256 * (1 - strength))),
        lambda: ImageOps.autocontrast(image),
        lambda: ImageOps.equalize(image),
    ]
    return random.choice(operations)()


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
