"""What detectors are made of, on CPU: ours against torchvision and pycocotools.

    python -m benchmarks.boxes                                (about a minute)
    python -m benchmarks.boxes --torch-python PATH --output boxes.json

The numbers are the milliseconds of ours, and by what factor torchvision, or for COCO's
average precision pycocotools, takes longer: above 1 ours is faster.  All sides take
turns in one run.

- suppression: 1,000 boxes that are scored for 80 classes; all that stay, or the 100
  best of them, which torchvision finds by cutting all that stay.
- alignment: 512 boxes of a map of 50×68 with 256 channels, pooled to 7×7.
- matching: anchors of five levels for images of 512×512 pixels, and which of up to 20
  objects each finds, in a batch of 8.
- coco_ap: the twelve numbers of COCO over 5,000 images and 80 classes.  pycocotools
  begins with its index made, ours with rows.

With `--compare` the command fails if a ratio is less than a third of the recorded one.
"""

import contextlib
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cli, records
from benchmarks.peers import peer
from benchmarks.timing import timer
from jaxvision import onednn
from jaxvision.errors import unknown
from jaxvision.metrics import coco
from jaxvision.ops import matching
from jaxvision.ops.boxes import iou, nms_of_classes, pairwise
from jaxvision.ops.boxes.anchors import anchors
from jaxvision.ops.roi_align import roi_align

RECORD = records.COMMITTED / "boxes.json"
SECONDS = 0.2
"""Approximate duration of a turn of one side."""
PAUSE = 0.1
"""Seconds before each turn, since idle threads of the side before spin for a while."""


class Case(NamedTuple):
    """One row, written twice."""

    ours: Callable[..., Any]
    """A function of the arrays, in the order of their names, to be compiled."""
    arrays: dict[str, np.ndarray]
    torch: str
    """Its name for `peers/boxes_torch.py`."""
    options: dict[str, Any]
    """What that gets beside the arrays."""


def boxes_in(draw, shape, height, width, least, most) -> np.ndarray:
    """Random boxes [*shape,4] whose sides are spread evenly over magnitudes."""
    size = np.exp(draw.uniform(np.log(least), np.log(most), (*shape, 2)))
    corner = draw.uniform(size=(*shape, 2)) * (np.array([width, height]) - size)
    return np.concatenate([corner, corner + size], axis=-1).astype(np.float32)


def suppression(outputs: int) -> Case:
    draw = np.random.default_rng(0)
    arrays = {
        "boxes": boxes_in(draw, (1000,), 600, 800, 16, 300),
        "scores": draw.uniform(size=(1000, 80)).astype(np.float32),
    }

    def ours(boxes, scores):
        return nms_of_classes(boxes, scores, 0.5, outputs=outputs)

    options = {"threshold": 0.5, "outputs": outputs}
    return Case(ours, arrays, "suppression", options)


def alignment(gradient: bool) -> Case:
    draw = np.random.default_rng(0)
    arrays = {
        "features": draw.standard_normal((50, 68, 256)).astype(np.float32),
        "boxes": boxes_in(draw, (512,), 800, 1088, 32, 600),
    }
    pool = partial(roi_align, size=(7, 7), scale=1 / 16, samples=2, aligned=False)

    def ours(features, boxes):
        if not gradient:
            return pool(features, boxes)
        pooled, pull = jax.vjp(lambda x: pool(x, boxes), features)
        return pooled, pull(jnp.ones_like(pooled))

    options = {"size": [7, 7], "scale": 1 / 16, "samples": 2, "gradient": gradient}
    return Case(ours, arrays, "alignment", options)


def matches() -> Case:
    draw = np.random.default_rng(0)
    image, strides = (512, 512), (8, 16, 32, 64, 128)
    maps = [(512 // stride, 512 // stride) for stride in strides]
    sizes = [[4 * s * 2 ** (k / 3) for k in range(3)] for s in strides]
    ratios = [[0.5, 1.0, 2.0]] * len(strides)
    counts = draw.integers(1, 21, 8, dtype=np.int32)
    arrays = {"boxes": boxes_in(draw, (8, 20), *image, 16, 400), "counts": counts}

    def ours(boxes, counts):
        places = np.concatenate(anchors(image, maps, sizes, ratios))

        def of_image(boxes, count):
            quality = pairwise(iou)(boxes, places)
            valid = jnp.arange(len(boxes)) < count
            return matching.max_iou(quality, valid, high=0.5, low=0.4, low_quality=True)

        return jax.vmap(of_image)(boxes, counts)

    options = {
        "image": image,
        "maps": maps,
        "sizes": sizes,
        "ratios": ratios,
        "high": 0.5,
        "low": 0.4,
    }
    return Case(ours, arrays, "matching", options)


CASES: dict[str, Callable[[], Case]] = {
    "suppression, all that stay": partial(suppression, 80_000),
    "suppression, 100 best": partial(suppression, 100),
    "alignment": partial(alignment, False),
    "alignment with gradient": partial(alignment, True),
    "matching": matches,
}
COCO_AP = "coco_ap"


@dataclasses.dataclass(frozen=True)
class Config:
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: without PyTorch's side."""
    torch_operators: Path | None = None
    """A Python file that defines torchvision's operators over there, where it has no
    compiled ones.  The ratios are then against those, and the record says so."""
    cases: tuple[str, ...] = (*CASES, COCO_AP)
    """What to measure."""
    images: int = 5000
    """Of the set of `coco_ap`."""
    rounds: int = 5
    """Turns of each side; the fastest counts, since noise only makes work slower."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a ratio is less than a third of the recorded one."""


def main(config: Config) -> int:
    for name in config.cases:
        if name not in (*CASES, COCO_AP):
            raise unknown("case", name, (*CASES, COCO_AP))
    numbers = records.begin("boxes")
    with contextlib.ExitStack() as stack:
        torch = None
        if config.torch_python is not None:
            torch = stack.enter_context(peer(config.torch_python, "boxes_torch.py"))
            if config.torch_operators is not None:
                torch("operators", str(config.torch_operators.resolve()))
            numbers["version_torch"] = torch("version")
            numbers["torch_operators"] = (
                "compiled" if config.torch_operators is None else "defined in Python"
            )
        for name in config.cases:
            if name == COCO_AP:
                found = coco_ap(config.images, config.rounds)
            else:
                found = measure(CASES[name](), torch, config.rounds)
            print(name, *(f"{k} {v:.3g}" for k, v in found.items()), sep="  ")
            numbers |= {f"{name} {key}": value for key, value in found.items()}
    records.write(numbers, config.output)
    return records.regressions(numbers, RECORD) if config.compare else 0


def measure(
    case: Case, torch: Callable[..., Any] | None, rounds: int
) -> dict[str, float]:
    """Milliseconds of ours, and the other's time as a multiple of it."""
    operands = [jnp.asarray(array) for array in case.arrays.values()]
    sides = {"ours": timer(partial(onednn.jit(case.ours), *operands))}
    if torch is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "arrays.npz"
            np.savez(path, allow_pickle=False, **case.arrays)
            torch("make", case.torch, str(path), case.options)
        sides["torch"] = partial(torch, "seconds")
    calls = {side: max(1, round(SECONDS / s(1))) for side, s in sides.items()}
    least = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for side, seconds in sides.items():
            time.sleep(PAUSE)
            least[side] = min(least[side], seconds(calls[side]))
    found = {"ms": 1000 * least["ours"]}
    if torch is not None:
        found["torch_ratio"] = least["torch"] / least["ours"]
    return found


def coco_ap(images: int, rounds: int) -> dict[str, float]:
    """Seconds of ours, and pycocotools' as a multiple of it."""
    rows = coco_rows(images)
    theirs = in_pycocotools(rows, 80)
    least = {"ours": float("inf"), "theirs": float("inf")}
    for turn in range(rounds):
        started = time.perf_counter()
        got = coco.compute(rows, 80)
        least["ours"] = min(least["ours"], time.perf_counter() - started)
        if turn < 2:  # which is long
            started = time.perf_counter()
            wanted = theirs().stats[0]
            least["theirs"] = min(least["theirs"], time.perf_counter() - started)
    return {
        "s": least["ours"],
        "pycocotools_ratio": least["theirs"] / least["ours"],
        "difference": abs(float(got["ap"] - wanted)),
    }


def coco_rows(images: int) -> dict[str, np.ndarray]:
    """As many boxes as a detector finds in COCO: 100 in each image, for 7 objects."""
    draw = np.random.default_rng(0)
    objects, found = 20, 100
    true = boxes_in(draw, (images, objects), 480, 640, 8, 300)
    there = draw.uniform(size=(images, objects)) < 0.36
    names = draw.integers(0, 80, (images, objects))
    source = draw.integers(0, objects, (images, found))
    boxes = np.take_along_axis(true, source[..., None], 1)
    boxes = boxes + draw.normal(scale=6, size=boxes.shape)
    boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 1)
    same = draw.uniform(size=source.shape) < 0.7
    other = draw.integers(0, 80, source.shape)
    return {
        "found_boxes": boxes.astype(np.float32),
        "found_scores": draw.uniform(size=source.shape).astype(np.float32),
        "found_classes": np.where(same, np.take_along_axis(names, source, 1), other),
        "boxes": true * there[..., None],
        "classes": np.where(there, names, -1),
        "crowd": (draw.uniform(size=there.shape) < 0.01) & there,
    }


def in_pycocotools(rows: dict[str, np.ndarray], classes: int) -> Callable[[], Any]:
    """A function that evaluates the rows and returns pycocotools' COCOeval."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entries(boxes, classes):
        for number, (image, k) in enumerate(np.argwhere(classes >= 0).tolist(), 1):
            x_min, y_min, x_max, y_max = boxes[image, k].astype(float).tolist()
            box = [x_min, y_min, x_max - x_min, y_max - y_min]
            yield (
                (image, k),
                {
                    "id": number,
                    "image_id": image,
                    "category_id": int(classes[image, k]),
                    "bbox": box,
                    "area": box[2] * box[3],
                },
            )

    objects = []
    for place, entry in entries(rows["boxes"], rows["classes"]):
        entry["iscrowd"] = int(rows["crowd"][place])
        if "area" in rows:
            entry["area"] = float(rows["area"][place])
        objects.append(entry)
    answers = [
        entry | {"score": float(rows["found_scores"][place])}
        for place, entry in entries(rows["found_boxes"], rows["found_classes"])
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(len(rows["classes"]))],
            "categories": [{"id": k} for k in range(classes)],
            "annotations": objects,
        }
        truth.createIndex()
        found = truth.loadRes(answers)

    def evaluate() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(truth, found, "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        return run

    return evaluate


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
