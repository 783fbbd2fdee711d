"""Licence plates by eight operations, with kernels made by hand and kernels learned.

    grey → convolution → ReLU → max-pooling → divisive normalisation of 25×5
         → what it takes away → ReLU → threshold → the widest component

A plate is where many vertical edges are side by side.  The kernels of the convolution
are learned from a few photographs with marked plates, from random ones on, and beside
them two are measured that see edges to the right and to the left (`handmade_…`).  The
threshold of both is chosen on the validation set.

    python -m experiments.plate_detector --dataset coco:PATH

PATH has photographs with boxes of plates, as `docs/data.md` says; `yolo:` and `voc:`
serve as well.  `stages.png` shows what each operation makes of a photograph.

Measured, 3 seeds, on 68 of the 108 European photographs of OpenALPR's benchmark, of
which 20 were trained on and 20 chose the threshold: 54.9 ± 6.6 % of the plates are
found (at an IoU of half) by kernels that were learned from random ones, and 66 of a
hundred by those made by hand, which see nothing but upright edges.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import data, optim, visualise
from jaxvision.errors import check
from jaxvision.measures import Measure
from jaxvision.ops import boxes, filters, normalisation
from jaxvision.ops.activation import relu
from jaxvision.ops.augment import normalise
from jaxvision.ops.filters import edges
from jaxvision.ops.pooling import max_pool
from jaxvision.runs import run
from jaxvision.types import (
    Array,
    Batch,
    Evaluation,
    Experiment,
    Galleries,
    Model,
    Show,
    Task,
)

POOL = (3, 9)
"""Of edges side by side: as high and wide as a stroke of a letter and its gap."""
NEIGHBOURS = (5, 25)
"""Of the divisive normalisation, in which edges that stand alone come out bright."""
STAGES = ("edges", "rectified", "pooled", "normalised", "residue")
RAISED = tuple(np.linspace(-1, 2, 13).tolist())
"""What thresholds are tried, beside the learned one."""
HIT = 0.5
"""IoU from which a plate is found."""


@dataclass(frozen=True)
class Config:
    dataset: str = "coco:plates"
    """Any set with boxes; all objects are plates."""
    size: tuple[int, int] = (216, 288)
    """Height and width in pixels that photographs are fitted into."""
    kernels: int = 6
    """Kernels that are learned."""
    window: int = 5
    """Their side in pixels, odd."""
    validation: float = 0.2
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 60
    """Passes over the training photographs."""
    batch_size: int = 4
    """Photographs per step, over all devices."""
    learning_rate: float = 0.03
    """Highest of Adam, in a one-cycle schedule."""
    seed: int = 0
    """Decides the first kernels and the order of the photographs."""


def by_hand() -> dict[str, Array]:
    """Sobel's kernel and its mirror image: edges to the bright and to the dark."""
    pair = np.stack([edges.SOBEL, -edges.SOBEL], axis=-1)[:, :, None]
    return {
        "kernels": jnp.asarray(pair, jnp.float32),
        "bias": jnp.zeros(2),
        "threshold": jnp.float32(1.5),
    }


def stages(params: Mapping[str, Array], images: Array) -> dict[str, Array]:
    """What each operation makes of images [B,H,W,C]: float32 [B,H,W,K] of K kernels,
    and the `score` [B,H,W,1], positive where a plate may be."""
    grey = normalisation.linear(without_borders(images).mean(-1, keepdims=True))
    responses = filters.convolve(grey, params["kernels"], border="edge")
    responses = responses + params["bias"][None, None, None]
    rectified = relu(responses)
    pooled = max_pool(rectified, POOL, 1, "SAME")
    normalised = normalisation.divisive(pooled, NEIGHBOURS)
    residue = relu(pooled - normalised)
    score = residue.sum(-1, keepdims=True) - params["threshold"]
    found = (responses, rectified, pooled, normalised, residue)
    return {**dict(zip(STAGES, found, strict=True)), "score": score}


def without_borders(images: Array) -> Array:
    """Images [B,H,W,C] whose black borders, as `letterbox` adds them, repeat what is
    beside them in the photograph: no edge is as strong as that of such a border."""
    for axis in (1, 2):
        others = tuple({1, 2, 3} - {axis})
        bright, last = images.max(others) > 0, images.shape[axis] - 1
        # One pixel further in, since the outermost was resized together with black.
        start = jnp.argmax(bright, 1) + 1
        stop = last - jnp.argmax(bright[:, ::-1], 1) - 1
        nearest = jnp.arange(last + 1)[None].clip(start[:, None], stop[:, None])
        images = jnp.take_along_axis(images, jnp.expand_dims(nearest, others), axis)
    return images


def widest(masks: Array) -> Array:
    """The box [B,4] around the widest component of masks [B,H,W,1], without the margin
    that pooling gave it; zeros where there is none."""
    labels = filters.components(masks)[..., 0]
    around = jax.vmap(filters.boxes_around)(labels)
    widths = around[..., 2] - around[..., 0]
    best = jnp.argmax(widths, axis=1)[:, None, None]
    box = jnp.take_along_axis(around, best, axis=1)[:, 0]
    rows, columns = (side // 2 for side in POOL)
    margin = jnp.array([columns, rows, -columns, -rows], jnp.float32)
    return jnp.where(widths.max(1)[:, None] > 0, box + margin[None], 0)


def pipeline(kernels: int, window: int) -> Model:
    """The detector as a model whose kernels, biases and threshold are learned."""
    check((window % 2 == 1, f"--window must be odd, got {window}"))

    def init(key, images):
        shape = (window, window, 1, kernels)
        drawn = jax.random.normal(key, shape) * (2 / window)
        drawn = drawn - drawn.mean((0, 1), keepdims=True)
        first = by_hand()
        return {"params": {**first, "kernels": drawn, "bias": jnp.zeros(kernels)}}

    def apply(variables, images, *, entry=None, train=False, key=None):
        return stages(variables["params"], images), {}

    return Model(init, apply)


def detection(
    fixed: Mapping[str, Array] | None = None, raised: float | None = None
) -> Task:
    """Find the plate.

    Args:
      fixed: parameters that are measured in place of the learned ones.
      raised: by how much the score must be above 0; None: what finds most plates of
        the validation set, among `RAISED`.
    """
    levels = RAISED if raised is None else (raised,)

    def look(forward, batch: Batch):
        if fixed is not None:
            return stages(fixed, batch["image"]), {}
        return forward(batch["image"])

    def loss(forward, batch: Batch, *, key):
        found, state = look(forward, batch)
        plate = _inside(batch, found["score"].shape[1:3])
        share = jax.nn.sigmoid(4 * found["score"][..., 0])
        # Dice of each photograph: plates are small, and no pixel counts by itself.
        common = (share * plate).sum((1, 2))
        dice = (2 * common + 1) / (share.sum((1, 2)) + plate.sum((1, 2)) + 1)
        count = jnp.int32(len(dice))
        sums = {"loss": (1 - dice).sum(), "count": count}
        return (sums["loss"], count), (state, sums)

    def update(forward, batch: Batch, *, keys):
        found, _ = look(forward, batch)
        _, (_, sums) = loss(forward, batch, key=None)

        def at(level):
            return _overlap(widest(found["score"] > level), batch)

        # One after the other: the program has the search for components once.
        return sums, {"iou": jax.lax.map(at, jnp.asarray(levels, jnp.float32)).T}

    def hits(rows):
        """Of each level, how many plates are found."""
        return (rows["iou"] >= HIT).mean(axis=0)

    def compute(sums, rows):
        count = max(int(sums["count"]), 1)
        measured = {"loss": float(sums["loss"]) / count}
        if rows:
            best = int(np.argmax(hits(rows)))
            measured["hit_rate"] = float(hits(rows)[best])
            measured["iou"] = float(rows["iou"][:, best].mean())
        return measured

    def tuned(sums, rows):
        return detection(fixed, levels[int(np.argmax(hits(rows)))])

    def predict(forward, batch: Batch, *, keys):
        found, _ = look(forward, batch)
        pictures = {name: _grey(jnp.abs(found[name]).max(-1)) for name in STAGES}
        return {**pictures, "box": widest(found["score"] > (raised or 0.0))}

    def difficulty(batch: Batch, predictions):
        return 1 - _overlap(predictions["box"], batch)

    return Task(
        loss=loss,
        update=update,
        compute=compute,
        measures=(
            Measure("hit_rate", "%", "higher", 1),
            Measure("iou", "", "higher", 3),
            Measure("loss", better="lower"),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("boxes", "classes"),
        tuned=tuned,
    )


def _inside(batch: Batch, size: tuple[int, int]) -> Array:
    """float32 [B,H,W]: 1 in the boxes of plates."""
    y, x = (jnp.arange(n, dtype=jnp.float32) + 0.5 for n in size)
    left, top, right, bottom = (
        batch["boxes"][..., i, None, None] for i in range(4)
    )  # [B,M,1,1], of no area where there is no plate
    across = (x[None, None, None] > left) & (x[None, None, None] < right)
    down = (y[None, None, :, None] > top) & (y[None, None, :, None] < bottom)
    return (across & down).any(1).astype(jnp.float32)


def _overlap(found: Array, batch: Batch) -> Array:
    """[B]: the IoU of the box found with the plate nearest to it."""
    every = boxes.iou(found[:, None], batch["boxes"])
    return jnp.where(batch["classes"] >= 0, every, 0).max(1)


def _grey(maps: Array) -> Array:
    """uint8 [B,H,W], the brightest white."""
    brightest = jnp.maximum(maps.max((1, 2), keepdims=True), 1e-6)
    return (255 * maps / brightest).astype(jnp.uint8)


def show(classes: Sequence[str]) -> Show:
    """The box that was found, and every stage of the way to it."""

    def draw(example, prediction):
        annotated = {
            "image": _bytes(example["image"]),
            "boxes": np.asarray(prediction["box"])[None],
            "classes": np.zeros(1, np.int32),
        }
        return visualise.overlay(annotated, ["found"])

    def words(prediction):
        left, top, right, bottom = np.asarray(prediction["box"]).round().astype(int)
        return [f"plate from ({left}, {top}) to ({right}, {bottom})"]

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        def rows(gallery, most):
            for i in range(min(len(gallery.indices), most)):
                image = {name: array[i] for name, array in gallery.input.items()}
                found = {name: array[i] for name, array in gallery.prediction.items()}
                overlap = 1 - float(gallery.difficulty[i])
                yield f"IoU {overlap:.2f}  #{gallery.indices[i]}", image, found

        chosen = [*rows(galleries.sample, 8)]
        stage_rows = {
            caption: [
                _bytes(image["image"]),
                *(found[name][..., None] for name in STAGES),
                draw(image, found),
            ]
            for caption, image, found in chosen
        }
        every = [*rows(galleries.sample, 16), *rows(galleries.worst, 8)]
        found_rows = {caption: [draw(image, found)] for caption, image, found in every}
        return {
            "stages.png": visualise.comparison(
                stage_rows,
                ("photograph", *STAGES, "found"),
                title="What each operation makes of a photograph",
            ),
            "predictions.png": visualise.comparison(
                found_rows, ("found",), title="A sample, and the worst"
            ),
        }

    return Show(draw, words, figures)


def _bytes(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    return (255 * np.clip(image, 0, 1)).round().astype(np.uint8)


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    prepare, crop = normalise(0, 1), data.letterbox(config.size)
    train_data = data.train(
        train, config.batch_size, transform=prepare, seed=config.seed, crop=crop
    )
    evaluation = functools.partial(
        data.evaluation, batch_size=8, transform=prepare, crop=crop
    )
    test_data = evaluation(splits.test)
    steps = train_data.steps(config.epochs)
    return Experiment(
        model=pipeline(config.kernels, config.window),
        task=detection(),
        optimizer=optim.adam(optim.one_cycle(config.learning_rate, steps=steps)),
        train=train_data,
        validation=evaluation(validation),
        test=test_data,
        evaluations={"handmade": Evaluation(test_data, detection(by_hand()))},
        steps=steps,
        eval_every=max(steps // 8, 1),
        seed=config.seed,
        classes=("plate",),
        show=show,
    )


if __name__ == "__main__":
    run(
        build,
        Config,
        smoke=dict(dataset="scenes:64x96x3:60:20", size=(64, 96), epochs=1),
    )
