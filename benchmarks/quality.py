"""How many faults that were planted in MNIST the quality report finds.

    python -m benchmarks.quality                    (about ten minutes)
    python -m benchmarks.quality --dataset mnist_5k --epochs 8 --folds 5

Faults are planted in a share of the training images, one fault in each, and the report
is made.  For every kind of fault it counts how many of the planted ones were found
(recall) and how many of the findings had been planted (precision).  Faults that MNIST
has of its own count against precision, which is therefore a lower bound.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import cli, records
from jaxvision.data import registry
from jaxvision.quality import report
from jaxvision.quality.findings import Finding


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"
    """Any set of grey images of one size."""
    share: float = 0.001
    """Share of the training images that get each kind of fault; ten times as many get a
    wrong label."""
    folds: int = 5
    """Folds of the cross-validation that finds wrong labels."""
    epochs: float = 4
    """Passes over the training images of each fold, for LeNet-5."""
    seed: int = 0
    """Decides which images get which fault."""
    workdir: Path = Path("runs/quality_benchmark")
    """Folder for the faulty set and its report."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


class Planted(dict[str, np.ndarray]):
    """Rows of the training split by fault, int [n]; of copies [n,2] with originals."""


NEAR: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "near_noise": lambda image, rng: image + rng.normal(0, 10, image.shape),
    "near_contrast": lambda image, rng: image * 0.7 + 30.0,
    "near_jpeg": lambda image, rng: _recompressed(image, 50),
    "near_shift": lambda image, rng: _shifted(image, 0.5),
    "near_shift_1": lambda image, rng: _shifted(image, 1.0),
}
"""Near-duplicates: noise of 10 grey levels, contrast of 70 % over grey, JPEG of quality
50, and shifts by half a pixel and by one."""


def plant(
    train: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    classes: int,
    share: float,
    seed: int,
) -> tuple[dict[str, np.ndarray], Planted]:
    """A training split with faults, and where they are.

    `train` and `test` have `image` uint8 [N,H,W,1] and `label` int32 [N]; neither is
    changed.  Copies replace other images of the training split and have the labels of
    their originals, half of which are in the test split.
    """
    rng = np.random.default_rng(seed)
    images, labels = train["image"].copy(), train["label"].copy()
    count = max(2, round(share * len(images)))
    free = iter(rng.permutation(len(images)).tolist())

    def rows(number: int = count) -> np.ndarray:
        return np.array([next(free) for _ in range(number)])

    planted = Planted(blank=rows(), dark=rows(), blurred=rows(), label=rows(10 * count))
    for row in planted["blank"]:
        level = rng.integers(256)
        images[row] = np.clip(level + rng.integers(-3, 4, images[row].shape), 0, 255)
    for row in planted["dark"]:
        images[row] = images[row] // 5
    for row in planted["blurred"]:
        images[row, ..., 0] = cv2.GaussianBlur(images[row, ..., 0], (0, 0), 1.0)
    for row in planted["label"]:
        labels[row] = (labels[row] + rng.integers(1, classes)) % classes
    for fault in ("duplicate", *NEAR):
        copies, originals = rows(), rows()
        across = np.arange(count) % 2 == 1
        originals[across] = rng.permutation(len(test["image"]))[: across.sum()]
        for copy, original, other in zip(copies, originals, across, strict=True):
            source = test if other else train
            image = source["image"][original].astype(float)
            if fault != "duplicate":
                image[..., 0] = NEAR[fault](image[..., 0], rng)
            images[copy] = np.clip(image.round(), 0, 255).astype(np.uint8)
            labels[copy] = source["label"][original]
        planted[fault] = np.stack([copies, originals + across * len(images)], axis=1)
    return {"image": images, "label": labels}, planted


def score(
    found: list[Finding], planted: Planted, train_size: int
) -> dict[str, dict[str, Any]]:
    """Counts by fault: `planted` and `found`; by kind: `findings`, and how many of
    them are `right`."""

    def place(example) -> int:
        return example.row + (example.split == "test") * train_size

    groups: dict[str, list[set[int]]] = {}
    for finding in found:
        places = {place(example) for example in finding.examples}
        groups.setdefault(finding.kind, []).append(places)
    result: dict[str, dict[str, Any]] = {}
    for fault, rows in planted.items():
        kind = "near_duplicate" if fault.startswith("near") else fault
        wanted = [set(np.atleast_1d(row).tolist()) for row in rows]
        hits = sum(
            any(want <= group for group in groups.get(kind, [])) for want in wanted
        )
        result[fault] = {"planted": len(wanted), "found": hits}
    for kind, of_kind in groups.items():
        faults = [
            rows
            for fault, rows in planted.items()
            if fault == kind or (kind == "near_duplicate" and fault.startswith("near"))
        ]
        truly = [set(np.atleast_1d(row).tolist()) for rows in faults for row in rows]
        right = sum(any(want <= group for want in truly) for group in of_kind)
        result.setdefault(kind, {}).update(findings=len(of_kind), right=right)
    return result


def main(config: Config) -> None:
    splits = registry.load(config.dataset)
    train, test = splits.train.read(), splits.test.read()
    classes = len(splits.train.class_names)
    faulty, planted = plant(train, test, classes, config.share, config.seed)
    config.workdir.mkdir(parents=True, exist_ok=True)
    path = config.workdir / "faulty.npz"
    np.savez(
        path,
        image_train=faulty["image"],
        label_train=faulty["label"],
        image_test=test["image"],
        label_test=test["label"],
    )
    started = time.perf_counter()
    found = report.make(
        f"npz:{path}",
        config.workdir / "report",
        experiment="experiments.mnist_lenet5",
        folds=config.folds,
        options=["--epochs", str(config.epochs)],
        command=sys.argv[1:],
    )
    seconds = time.perf_counter() - started
    scores = score(found, planted, len(train["image"]))
    for name, counts in scores.items():
        print(name, *(f"{key} {value:,}" for key, value in counts.items()))
    numbers = records.begin("quality")
    numbers |= {"seconds": seconds, "folds": config.folds, "epochs": config.epochs}
    for name, counts in scores.items():
        numbers |= {f"{name}_{key}": value for key, value in counts.items()}
    records.write(numbers, config.output)


def _recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    grey = np.clip(image, 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


def _shifted(image: np.ndarray, pixels: float) -> np.ndarray:
    matrix = np.array([[1, 0, pixels], [0, 1, 0]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape[::-1])


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
