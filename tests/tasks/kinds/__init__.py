"""Tasks of kinds that the package does not have, each a short file."""

from jaxvision import data, optim
from jaxvision.ops.augment import normalise
from jaxvision.types import Experiment

PREPARE = normalise(0.5, 0.25)


def experiment(model, task, **changes) -> Experiment:
    """On made images of 8×8 pixels and four classes, 16 steps."""
    splits = data.load("synthetic:8x8x1:4")
    train, validation = data.carve(splits.train, 64)
    train_data = data.train(train, 32, transform=PREPARE, seed=0)
    base = Experiment(
        model=model,
        task=task,
        optimizer=optim.adam(optim.constant(3e-3)),
        train=train_data,
        validation=data.evaluation(validation, 24, transform=PREPARE),
        test=data.evaluation(splits.test, 24, transform=PREPARE),
        steps=16,
        log_every=4,
        eval_every=8,
        steps_per_dispatch=2,
    )
    return base._replace(**changes)
