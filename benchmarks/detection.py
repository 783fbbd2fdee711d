"""Whole steps of detectors on CPU: ours against torchvision's and YOLOX's, in turns.

    python -m benchmarks.detection --torch-python PATH --rounds 3     (17 minutes)

PATH is a Python with PyTorch, torchvision and YOLOX, which runs
`peers/detection_torch.py`.  Both sides have the same weights, images and objects, in
float32, without what prepares images: 20 classes, batches of 8, up to 8 objects of an
image.

- training: the network, matching, the losses, gradients and momentum.  Four of our
  steps run in a dispatch, each on a batch of its own, as in the experiments.
- inference: the network, decoding and suppression.  Weights are random, so that every
  candidate has a score that counts, which is the most that there can be to suppress.
  Masks stay at the 28×28 of their regions.
- peak memory: what a process holds at most while it takes two steps, everything else
  that is in it included, where the system can tell.

PyTorch runs eagerly in whichever of its two memory layouts is faster for the row, as
found before the first round.  Ours compiles one step to a program; how long that takes
is told beside it.  Where torchvision's suppression is not compiled for the PyTorch that
is there, it is `peers/nms.cpp`, and the record says so.

With `--compare` the command fails if a ratio is less than a third of the recorded one.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import cli, records, speed
from benchmarks.peers import peer
from benchmarks.peers.memory import peak
from jaxvision import models, onednn, pretrained, tasks
from jaxvision.engine.forward import in_evaluation, in_training
from jaxvision.engine.step import quotient
from jaxvision.errors import unknown
from jaxvision.pretrained import keys
from jaxvision.types import Batch, Model, Task
from tools import parity_inputs, step_inputs
from tools.step_inputs import CLASSES


class Row(NamedTuple):
    """A detector, and the height and width of its images."""

    model: str
    options: Mapping[str, Any]
    detector: tasks.Detector
    size: tuple[int, int]


ROWS = {
    "retinanet_resnet18": Row(
        "retinanet_resnet50_fpn",
        {"encoder": "resnet18"},
        tasks.retinanet(),
        (256, 256),
    ),
    "ssdlite320": Row("ssdlite320_mobilenet_v3_large", {}, tasks.ssdlite(), (320, 320)),
    "yolox_nano": Row("yolox_nano", {}, tasks.yolox(), (320, 320)),
    "maskrcnn_resnet18": Row(
        "maskrcnn_resnet50_fpn",
        {"encoder": "resnet18"},
        tasks.mask_rcnn(),
        (320, 320),
    ),
}
IN_DISPATCH = {"training": 4, "inference": 1}
"""Steps of ours, by the kind."""
RECORD = records.COMMITTED / "detection.json"


@dataclasses.dataclass(frozen=True)
class Config:
    torch_python: Path
    """Interpreter in which `import torch`, `torchvision` and `yolox` work."""
    rows: tuple[str, ...] = tuple(ROWS)
    """Detectors to measure."""
    kinds: tuple[str, ...] = tuple(IN_DISPATCH)
    """Of steps to measure."""
    batch: int = 8
    """Images of a step."""
    rounds: int = 7
    """Turns of each side; the median of their ratios counts."""
    seconds: float = 3.0
    """Approximate duration of each turn."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a ratio is less than a third of the recorded one."""


def main(config: Config) -> int:
    for row in config.rows:
        if row not in ROWS:
            raise unknown("row", row, ROWS)
    for kind in config.kinds:
        if kind not in IN_DISPATCH:
            raise unknown("kind of step", kind, IN_DISPATCH)
    numbers = records.begin("detection")
    names = [f"{row}_{kind}" for row in config.rows for kind in config.kinds]
    with peer(config.torch_python, "detection_torch.py") as torch:
        numbers["version_torch"], numbers["torch_suppression"] = torch("begin")
        for row in config.rows:
            shape = (config.batch, *ROWS[row].size, 3)
            for kind in config.kinds:
                ours, compile_seconds = timed(kind, row, shape)
                theirs = torch("make", kind, row, shape)
                sides = speed.Sides(
                    config.batch, ours, IN_DISPATCH[kind], compile_seconds, *theirs
                )
                turns = speed.Turns(config.rounds, config.seconds)
                numbers |= speed.measure(f"{row}_{kind}", sides, torch, turns)
                most = {"ours": peak(ours, 2), "torch": torch("peak_of", 2)}
                numbers |= {
                    f"{row}_{kind}_{side}_peak_bytes": bytes_
                    for side, bytes_ in most.items()
                }
    records.write(numbers, config.output)
    speed.print_table(names, numbers)
    return records.regressions(numbers, RECORD) if config.compare else 0


class Made(NamedTuple):
    """What a step is made of."""

    model: Model
    task: Task
    variables: dict[str, Any]
    batch: Batch


def make(
    row: str, shape: tuple[int, int, int, int], detector: tasks.Detector | None = None
) -> Made:
    """A row with the weights, images and objects of the other side; None: with its own
    detector."""
    name, options, own, _ = ROWS[row]
    detector = detector or own
    options = {**options, "num_classes": CLASSES + detector.background}
    rules = next(iter(models.sources(name, **options).values()))
    like = models.shapes.variables(name, shape[1:], **options)
    state = {
        key: parity_inputs.weight(key, wanted, step_inputs.GAIN)
        for key, wanted in keys.published_shapes(like, rules).items()
    }
    count, height, width, _ = shape
    boxes = np.zeros((count, step_inputs.MOST, 4), np.float32)
    classes = np.full((count, step_inputs.MOST), -1, np.int32)
    for i, (of_image, numbers) in enumerate(step_inputs.objects(row, shape)):
        boxes[i, : len(numbers)], classes[i, : len(numbers)] = of_image, numbers
    batch = {
        "image": parity_inputs.images(height, width, count=count),
        "boxes": boxes,
        "classes": classes,
    }
    if any("instances" in head.reads for head in detector.heads):
        batch["instances"] = np.stack(
            [step_inputs.ellipses(of_image, height, width) for of_image in boxes]
        )
    variables = pretrained.load(name, state, input_shape=shape[1:], **options)
    return Made(
        models.create(name, **options),
        tasks.detection(CLASSES, detector),
        dict(variables),
        jax.tree.map(jnp.asarray, batch),
    )


def loss(made: Made, variables: dict[str, Any], batch: Batch, key: jax.Array) -> Any:
    """The loss of a training pass, and the model's state after it."""
    params, model_state = split(variables)
    forward = in_training(made.model, params, model_state, key=key, **NOTHING_ELSE)
    (total, weight), (after, _) = made.task.loss(forward, batch, key=key)
    return quotient(total, weight), after


def found(made: Made, variables: dict[str, Any], batch: Batch) -> dict[str, jax.Array]:
    """Boxes, scores and classes that are found in the images of a batch."""
    forward = in_evaluation(made.model, *split(variables), **NOTHING_ELSE)
    return dict(made.task.predict(forward, batch, keys=None))


def split(variables: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The parameters, and the state beside them."""
    model_state = dict(variables)
    return model_state.pop("params"), model_state


NOTHING_ELSE: dict[str, Any] = {"average": None, "step": np.int32(0), "frozen": {}}
"""Of what a task may see besides."""


def timed(
    kind: str, row: str, shape: tuple[int, int, int, int]
) -> tuple[Callable[[int], float], float]:
    """`dispatches -> seconds of a step` of ours, and the seconds it took to compile."""
    made = make(row, shape)
    steps = IN_DISPATCH[kind]
    transform = optax.sgd(1e-5, momentum=0.9)

    def train(state, batch):
        params, model_state, opt_state = state
        (value, model_state), gradients = jax.value_and_grad(
            lambda params: loss(
                made, {"params": params, **model_state}, batch, jax.random.key(0)
            ),
            has_aux=True,
        )(params)
        updates, opt_state = transform.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), model_state, opt_state), value

    def train_all(state, batches):
        return jax.lax.scan(train, state, batches)

    def infer(variables, batch):
        return variables, found(made, variables, batch)

    state: Any = jax.tree.map(jnp.array, made.variables)
    items = made.batch
    if kind == "training":
        params, model_state = split(state)
        state = (params, model_state, transform.init(params))
        items = jax.tree.map(lambda x: jnp.stack([x] * steps), items)
    started = time.perf_counter()
    program = onednn.jit(train_all if kind == "training" else infer, donate_argnums=0)
    program.lower(state, items).compile()
    compile_seconds = time.perf_counter() - started

    def seconds(dispatches: int) -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(dispatches):
            state, result = program(state, items)
        jax.block_until_ready((state, result))
        return (time.perf_counter() - started) / (dispatches * steps)

    seconds(1)
    return seconds, compile_seconds


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
