"""Three curves: training falls on, validation turns, and what can be done about it.

A network of 784-300-100-10 learns 400 digits.  Without a remedy its training loss goes
to zero, while the validation loss falls, turns and rises.  Each remedy is a run of its
own: weight decay, augmentation, dropout, early stopping.  `compare.png` has the curves
of all of them.

    python -m experiments.overfitting

Measured: without a remedy the validation loss is lowest after 11 passes of 60 (0.416;
0.496 at the end).  The checkpoint of that moment is what is tested in each run, so that
early stopping changes the time and not the number.  Test losses: none and early
stopping 0.405, dropout 0.401, weight decay 0.389, augmentation 0.233.
"""

from dataclasses import dataclass
from typing import Any

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import compose, normalise, random_affine
from jaxvision.runs import early_stopping, run_cases
from jaxvision.types import Experiment

REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "weight decay": dict(weight_decay=1.0),
    "augmentation": dict(augment=True),
    "dropout": dict(dropout=0.5),
    "early stopping": dict(patience=3),
}


@dataclass(frozen=True)
class Config:
    dataset: str = "mnist_5k"
    """`mnist_5k` (embedded), or any TFDS set of images of one size."""
    images: int = 400
    """Of the training split that are learned from."""
    validation: float = 0.25
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 60
    """Passes over the training images."""
    batch_size: int = 40
    """Images per step, over all devices."""
    learning_rate: float = 1e-3
    """Constant learning rate of AdamW."""
    weight_decay: float = 0.0
    """Shrinks the weights, not the biases.  A remedy."""
    augment: bool = False
    """Shift, turn and zoom the training images a little.  A remedy."""
    dropout: float = 0.0
    """Rate behind each hidden layer.  A remedy."""
    patience: int = 0
    """Validations without a lower loss after which the run ends; 0: it does not.  A
    remedy."""
    seed: int = 0
    """Decides the initial weights, the order of the images and what is drawn."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    few = data.subset(train, config.images) if config.images < train.size else train
    classes = train.class_names
    prepare = normalise(0.1307, 0.3081)
    moved = random_affine(degrees=12, translation=0.1, zoom=(0.9, 1.1))
    augment = compose(moved, prepare) if config.augment else prepare
    train_data = data.train(few, config.batch_size, transform=augment, seed=config.seed)
    return Experiment(
        model=models.create("mlp", num_classes=len(classes), dropout=config.dropout),
        task=tasks.classification(len(classes)),
        optimizer=optim.adamw(
            optim.constant(config.learning_rate), weight_decay=config.weight_decay
        ),
        train=train_data,
        validation=data.evaluation(validation, 500, transform=prepare),
        test=data.evaluation(splits.test, 500, transform=prepare),
        steps=train_data.steps(config.epochs),
        seed=config.seed,
        classes=classes,
        show=visualise.classification,
        monitor="loss",
        on_evaluation=early_stopping(patience=config.patience)
        if config.patience
        else None,
    )


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:28x28x1", epochs=2)
    run_cases(build, Config, REMEDIES, smoke=smoke)
