"""An experiment that trains in a second: for the tests of topology and of disasters.

    python -m tests.tiny --workdir …

A residual network with batch normalisation, and an MLP and a vision transformer without
it, whose layers have tensor-parallel rules; all are trained on random crops.
"""

import os
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jax.sharding import PartitionSpec as P

from jaxvision import data, models, optim, tasks
from jaxvision.ops.augment import compose, normalise, random_flip, random_shift
from jaxvision.runs import run
from jaxvision.types import Experiment

MODELS = {
    "resnet": lambda: models.create("resnet20", blocks=1, width=8, num_classes=4),
    "mlp": lambda: models.create("mlp", hidden=(64, 32), num_classes=4),
    "vit": lambda: models.create(
        "vit_b_16",
        patch=4,
        depth=4,
        heads=4,
        features=32,
        hidden=64,
        num_classes=4,
    ),
}
TENSOR_PARALLEL = {
    "mlp": (
        ("Dense_0/kernel", P(None, "model")),
        ("Dense_1/kernel", P("model", None)),
    ),
    "vit": (
        (r"(in_proj|mlp\.0)/kernel", P(None, "model")),
        (r"(out_proj|mlp\.3)/kernel", P("model", None)),
    ),
}


@dataclass(frozen=True)
class Config:
    model: Literal["resnet", "mlp", "vit"] = "mlp"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 0.05
    steps_per_dispatch: int = 2
    seed: int = 0
    pause: float = 0.0
    """Seconds that each item takes, so that there is time to disturb the run."""
    hang_at: int | None = None
    """The item that never comes; with HANG_IN, only in that process."""
    poison: int | None = None
    """The item whose batch makes the loss NaN."""


def build(config: Config) -> Experiment:
    splits = data.load("synthetic:8x8x3:4")
    train, validation = data.carve(splits.train, 37)
    train = train._replace(size=256, read=lambda read=train.read: _first(256, read()))
    prepare = normalise(0.5, 0.25)
    augment = compose(random_shift(1), random_flip, prepare)
    train_data = data.train(
        train, config.batch_size, transform=augment, seed=config.seed
    )
    steps = train_data.steps(config.epochs)
    model = MODELS[config.model]()
    return Experiment(
        model=model,
        task=tasks.classification(4, label_smoothing=0.1, top_k=2),
        optimizer=optim.sgd(
            optim.warmup_cosine(config.learning_rate, steps=steps, warmup=3),
            momentum=0.9,
            weight_decay=1e-3,
            no_weight_decay=model.no_weight_decay,
        ),
        train=_disturbed(train_data, config),
        validation=data.evaluation(validation, 17, transform=prepare),
        test=data.evaluation(splits.test, 100, transform=prepare),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=config.steps_per_dispatch,
        sharding=TENSOR_PARALLEL.get(config.model, ()),
    )


def _first(count, arrays):
    return {name: array[:count] for name, array in arrays.items()}


def _disturbed(pipeline, config):
    """The pipeline, slow, hanging or poisoned, as the config says."""

    class Items:
        def __init__(self, rows=slice(None)):
            self._items, self._rows = pipeline.items(rows), rows

        def __next__(self):
            state = self._items.get_state()
            number = state["epoch"] * pipeline.num_batches + state["batch"]
            time.sleep(config.pause)
            here = os.environ.get("HANG_IN") in (None, os.environ.get("JAX_PROCESS_ID"))
            if number == config.hang_at and here and not os.environ.get("NO_HANG"):
                time.sleep(10**6)
            item = dict(next(self._items))
            # Each row carries what its image is multiplied with.
            bad = float("nan") if number == config.poison else 1.0
            item["factor"] = np.full(len(item["index"]), bad, np.float32)
            return item

        def get_state(self):
            return self._items.get_state()

        def set_state(self, state):
            self._items.set_state(state)

    def transform(key, batch):
        factor = batch["factor"][:, None, None, None]
        batch = {name: array for name, array in batch.items() if name != "factor"}
        batch = pipeline.transform(key, batch)
        return batch | {"image": batch["image"] * factor}

    return pipeline._replace(items=Items, transform=transform)


if __name__ == "__main__":
    run(build, Config, smoke={})
