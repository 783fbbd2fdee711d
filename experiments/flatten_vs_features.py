"""Flattened pixels against the features of a network, for the same classifier.

A multilayer perceptron learns classes from the pixels of images, and the same one from
what a convolutional network, trained on the same images, makes of them.  `spaces.png`
shows both spaces in a plane, by their principal components and by t-SNE.

    python -m experiments.flatten_vs_features                           (Fashion-MNIST)
    python -m experiments.flatten_vs_features --dataset mnist_5k --points 1000

Measured: 89.56 % of Fashion-MNIST from features, as much as the network itself, and 1.6
points more than from pixels.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from jaxvision import data, models, visualise
from jaxvision.errors import check
from jaxvision.estimators import ImageClassifier
from jaxvision.measures import Measure
from jaxvision.runs import Study, study


@dataclass(frozen=True)
class Config:
    dataset: str = "fashion_mnist"
    """Any set of images of one size with classes."""
    images: int = 20_000
    """Training images, each class in proportion; fewer where there are fewer."""
    network_epochs: int = 6
    """Passes of the convolutional network."""
    epochs: int = 15
    """Passes of each perceptron."""
    points: int = 2000
    """Test images that are drawn as points."""
    seed: int = 0
    """Decides the images, the initial weights and the projections."""


def features_of(network: ImageClassifier, images: np.ndarray, batch_size: int = 500):
    """float32 [N,D]: the last activations of a fitted network before its classes."""
    variables = dict(network.variables_)
    statistics: Any = variables.pop("normalisation")
    model = models.create(network.model, num_classes=len(network.classes_))
    mean, scale = (
        jnp.asarray(statistics[name]).reshape(1, 1, 1, -1) for name in ("mean", "scale")
    )

    @jax.jit
    def features(variables, images):
        prepared = (images.astype(jnp.float32) - mean) / scale
        return model.apply(variables, prepared)[0]["pre_logits"]

    parts = range(0, len(images), batch_size)
    return np.concatenate(
        [np.asarray(features(variables, images[i : i + batch_size])) for i in parts]
    )


def accuracy_of(train, test, labels, config: Config) -> float:
    """Of the perceptron on rows [N,F], on the test."""
    perceptron = ImageClassifier(
        "mlp",
        image_shape=(train.shape[1], 1, 1),
        epochs=config.epochs,
        batch_size=128,
        augment=None,
        random_state=config.seed,
    )
    perceptron.fit(train, labels[0])
    return float((perceptron.predict(test) == labels[1]).mean())


def examine(config: Config) -> Study:
    check(
        (config.images > 0, f"--images must be positive, got {config.images}"),
        (config.points >= 60, f"--points must be at least 60, got {config.points}"),
        (
            min(config.epochs, config.network_epochs) > 0,
            f"epochs must be positive, got {config.network_epochs} and {config.epochs}",
        ),
    )
    splits = data.load(config.dataset)
    some = splits.train
    if config.images < some.size:
        some = data.subset(some, config.images, seed=config.seed)
    train, test = some.read(), splits.test.read()
    check(("label" in train, f"{config.dataset} has no classes: choose another set"))
    labels = train["label"], test["label"]
    network = ImageClassifier(
        "convnet",
        epochs=config.network_epochs,
        batch_size=128,
        augment=None,
        random_state=config.seed,
    ).fit(train["image"], labels[0])

    spaces = {
        "pixels": [
            part["image"].reshape(len(part["image"]), -1).astype(np.float32) / 255
            for part in (train, test)
        ],
        "features": [features_of(network, part["image"]) for part in (train, test)],
    }
    found = {
        name: accuracy_of(parts[0], parts[1], labels, config)
        for name, parts in spaces.items()
    }
    draw = np.random.default_rng(config.seed)
    rows = draw.permutation(len(labels[1]))[: config.points]
    panels = {}
    for name, (_, points) in spaces.items():
        projections = {
            "principal components": PCA(2, random_state=config.seed),
            "t-SNE": TSNE(2, random_state=config.seed, init="pca"),
        }
        for way, projection in projections.items():
            flat = projection.fit_transform(points[rows])
            panels[f"{name}: {way}"] = visualise.Cloud(
                {
                    label: flat[labels[1][rows] == number]
                    for number, label in enumerate(splits.train.class_names)
                }
            )
    own = float((network.predict(test["image"]) == labels[1]).mean())
    return Study(
        config.dataset,
        [
            Measure("accuracy_of_features", "%", "higher", 2),
            Measure("accuracy_of_pixels", "%", "higher", 2),
            Measure("accuracy_of_network", "%", "higher", 2),
        ],
        {
            "accuracy_of_features": found["features"],
            "accuracy_of_pixels": found["pixels"],
            "accuracy_of_network": own,
        },
        {"spaces.png": visualise.clouds(panels, equal=False)},
    )


SMOKE: dict = dict(
    dataset="synthetic:28x28x1", images=200, network_epochs=1, epochs=1, points=60
)

if __name__ == "__main__":
    study(examine, Config, smoke=SMOKE)
