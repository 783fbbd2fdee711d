"""Filters on an image of two megapixels: ours against SciPy, scikit-image and OpenCV.

    python -m benchmarks.filters                              (about a minute)
    python -m benchmarks.filters --filters median sobel --output filters.json

The numbers are the milliseconds of ours, after compilation, and by what factor each of
the others takes longer for the same: above 1 ours is faster.  All take turns in one run
and compute the same to the tolerance of their tests, on one greyscale image of bytes.
scikit-image is measured where it is installed.

With `--compare` the command fails if a ratio is less than a third of the recorded one.
"""

import dataclasses
import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from benchmarks import cli, records
from benchmarks.timing import timer
from jaxvision.errors import check, unknown
from jaxvision.ops import filters

RECORD = records.COMMITTED / "filters.json"
SECONDS = 0.2
"""Approximate duration of a turn of one side."""
PAUSE = 0.1
"""Seconds before each turn, since idle threads of the side before spin for a while."""
SIDES = ("scipy", "skimage", "opencv")


class Row(NamedTuple):
    """A filter, written several times."""

    ours: Callable
    """Of images [1,H,W,1]."""
    others: Mapping[str, Callable]
    """Of an image [H,W], by whose it is."""


def skimage(name: str, **options: Any) -> Callable:
    """A function of scikit-image, which is imported when it is called."""
    module, _, function = name.rpartition(".")

    def call(image):
        found = getattr(importlib.import_module(f"skimage.{module}"), function)
        return found(image, **options)

    return call


def both_derivatives(function: Callable) -> Callable:
    """`function(image, order)` of the orders (x, y) 1, 0 and 0, 1."""
    return lambda image: (function(image, (1, 0)), function(image, (0, 1)))


FILTERS = {
    "mean 9×9": Row(
        lambda x: filters.mean(x, 9),
        {
            "scipy": partial(ndimage.uniform_filter, size=9, mode="mirror"),
            "opencv": lambda x: cv2.blur(x, (9, 9)),
        },
    ),
    "gaussian 2": Row(
        lambda x: filters.gaussian(x, 2.0),
        {
            "scipy": partial(ndimage.gaussian_filter, sigma=2.0, mode="mirror"),
            "skimage": skimage("filters.gaussian", sigma=2.0, mode="mirror"),
            "opencv": lambda x: cv2.GaussianBlur(x, (17, 17), 2.0),
        },
    ),
    "sobel": Row(
        filters.sobel,
        {
            "scipy": both_derivatives(
                lambda x, order: ndimage.sobel(
                    np.float32(x), axis=order[0], mode="mirror"
                )
            ),
            "skimage": both_derivatives(
                lambda x, order: skimage("filters.sobel", axis=order[0])(x)
            ),
            "opencv": both_derivatives(
                lambda x, order: cv2.Sobel(x, cv2.CV_32F, *order)
            ),
        },
    ),
    "laplacian": Row(
        filters.laplacian,
        {
            "scipy": lambda x: ndimage.laplace(np.float32(x), mode="mirror"),
            "skimage": skimage("filters.laplace"),
            "opencv": lambda x: cv2.Laplacian(x, cv2.CV_32F),
        },
    ),
    "median 3×3": Row(
        lambda x: filters.median(x, 3),
        {
            "scipy": partial(ndimage.median_filter, size=3, mode="mirror"),
            "skimage": skimage("filters.median", footprint=np.ones((3, 3))),
            "opencv": lambda x: cv2.medianBlur(x, 3),
        },
    ),
    "median 5×5": Row(
        lambda x: filters.median(x, 5),
        {
            "scipy": partial(ndimage.median_filter, size=5, mode="mirror"),
            "skimage": skimage("filters.median", footprint=np.ones((5, 5))),
            "opencv": lambda x: cv2.medianBlur(x, 5),
        },
    ),
    "bilateral 7×7": Row(
        lambda x: filters.bilateral(x, 3, sigma_space=2.0, sigma_colour=30.0),
        {
            "skimage": skimage(
                "restoration.denoise_bilateral", win_size=7, sigma_color=0.1,
                sigma_spatial=2.0,
            ),
            "opencv": lambda x: cv2.bilateralFilter(x, 7, 30.0, 2.0),
        },
    ),
    "canny": Row(
        lambda x: filters.canny(x, 100.0, 200.0, sigma=None),
        {"opencv": lambda x: cv2.Canny(x, 100, 200, L2gradient=True)},
    ),
    "canny 2": Row(
        lambda x: filters.canny(x, 60.0, 120.0, sigma=2.0),
        {
            "skimage": skimage(
                "feature.canny", sigma=2.0, low_threshold=15, high_threshold=30
            )
        },
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    filters: tuple[str, ...] = tuple(FILTERS)
    """Filters to measure."""
    size: tuple[int, int] = (1224, 1632)
    """Height and width of the image."""
    rounds: int = 5
    """Turns of each side; the fastest counts, since noise only makes work slower."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a ratio is less than a third of the recorded one."""


def photograph(height: int, width: int) -> np.ndarray:
    """uint8 [H,W]: spots, lines and noise of all sizes, the same for the same size."""
    draw = np.random.default_rng(0)
    image = np.zeros((height, width), np.float32)
    for scale in (2, 8, 32, 128):
        rows, columns = -(-height // scale), -(-width // scale)
        coarse = draw.random((rows, columns), np.float32)
        image += scale**0.5 * cv2.resize(coarse, (width, height))
    image = (image - image.min()) / np.ptp(image)
    return (255 * image).astype(np.uint8)


def main(config: Config) -> int:
    for name in config.filters:
        if name not in FILTERS:
            raise unknown("filter", name, FILTERS)
    check((min(config.size) >= 16, f"--size must be at least 16, got {config.size}"))
    sides = [
        side
        for side in SIDES
        if side != "skimage" or importlib.util.find_spec("skimage") is not None
    ]
    image = photograph(*config.size)
    numbers = records.begin("filters", "cpu")
    for name in config.filters:
        found = measure(FILTERS[name], image, sides, config.rounds)
        print(name, *(f"{k} {v:.3g}" for k, v in found.items()), sep="  ")
        numbers |= {f"{name} {key}": value for key, value in found.items()}
    records.write(numbers, config.output)
    Console().print(as_table(config.filters, sides, numbers))
    return records.regressions(numbers, RECORD) if config.compare else 0


def measure(row: Row, image: np.ndarray, sides, rounds: int) -> dict[str, float]:
    """Milliseconds of ours, and the others' times as multiples of it."""
    ours = jax.jit(row.ours)
    calls: dict[str, Callable[[int], float]] = {
        "ours": timer(partial(ours, jax.device_put(image[None, ..., None])))
    }
    calls |= {s: timer(partial(row.others[s], image)) for s in sides if s in row.others}
    counts = {side: max(1, round(SECONDS / call(1))) for side, call in calls.items()}
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for side, call in calls.items():
            time.sleep(PAUSE)
            least[side] = min(least[side], call(counts[side]))
    return {
        "ours_ms": 1000 * least["ours"],
        **{f"{s}_ratio": least[s] / least["ours"] for s in least if s != "ours"},
    }


def as_table(names, sides, numbers: Mapping[str, Any]) -> Table:
    table = Table("", title="Milliseconds, and how many times as long others take")
    for side in ("ours", *sides):
        table.add_column(side, justify="right")
    for name in names:
        cells = (numbers.get(f"{name} {side}_ratio") for side in sides)
        table.add_row(
            name,
            f"{numbers[f'{name} ours_ms']:.2f}",
            *("" if cell is None else f"{cell:.2f}" for cell in cells),
        )
    return table


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
