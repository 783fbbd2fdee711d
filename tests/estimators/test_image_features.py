"""What a trained network makes of images, as a transformer of scikit-learn."""

import pickle

import jax
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from test_image_classifier import coloured

import jaxvision
from experiments import mnist_perceptron
from jaxvision import models, pretrained
from jaxvision.engine.compilation import for_one_run
from jaxvision.errors import UsageError
from jaxvision.estimators import ImageFeatures
from jaxvision.runs import run

SMALL = {"blocks": 1, "width": 8}
PREPARING = {"size": 32}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of a small ResNet-20, as they are published."""
    images = np.zeros((1, 32, 32, 3), np.float32)
    init = models.create("resnet20", **SMALL).init
    file = tmp_path_factory.mktemp("weights") / "resnet20.safetensors"
    init = jax.jit(init, compiler_options=for_one_run())
    pretrained.save(file, "resnet20", init(jax.random.key(0), images))
    return file


@pytest.fixture(scope="module")
def features(weights):
    return ImageFeatures(
        "resnet20", weights=weights, options=SMALL, preparing=PREPARING, batch_size=8
    )


def test_features_are_those_of_the_network(features, weights):
    images, _ = coloured(11)
    found = features.fit_transform(images)
    assert found.shape == (11, 32) and found.dtype == np.float32
    preparation = pretrained.prepared("resnet20", **PREPARING)
    predictor = jaxvision.load(
        "resnet20", weights=weights, preparation=preparation, **SMALL
    )
    expected = predictor.features(list(images), "pre_logits")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    maps = predictor.features(list(images), "stage2")
    found = clone(features).set_params(layer="stage2").fit_transform(images)
    np.testing.assert_allclose(found, maps.mean((1, 2)), rtol=1e-4, atol=1e-5)
    names = features.get_feature_names_out()
    assert names[0] == "imagefeatures0" and len(names) == 32


def test_numbers_files_and_sizes_are_what_their_bytes_are(features, tmp_path):
    images, _ = coloured(4)
    expected = features.fit_transform(images)
    np.testing.assert_array_equal(features.transform(images / 255), expected)
    np.testing.assert_array_equal(features.transform([*images]), expected)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    column = pd.Series([str(path) for path in paths])
    np.testing.assert_allclose(features.transform(column), expected, atol=1e-5)
    sizes = features.transform([images[0], images[1][:5]])
    np.testing.assert_array_equal(sizes[0], expected[0])
    assert (sizes[1] != expected[1]).any()


def test_it_is_part_of_a_pipeline_and_can_be_pickled(features):
    images, labels = coloured(40)
    pipeline = make_pipeline(clone(features), LogisticRegression(max_iter=1000))
    assert cross_val_score(pipeline, images, labels, cv=2).min() > 0.9
    pipeline.fit(images, labels)
    pickled = pickle.dumps(pipeline)
    assert len(pickled) < 200_000, "the network itself is not in it"
    np.testing.assert_array_equal(
        pickle.loads(pickled).predict(images), pipeline.predict(images)
    )


@pytest.mark.slow
def test_a_run_of_ones_own_gives_features(tmp_path):
    run(
        mnist_perceptron.build,
        mnist_perceptron.Config,
        smoke=dict(dataset="synthetic:28x28x1", epochs=1),
        arguments=["--smoke", "--devices", "1", "--workdir", str(tmp_path)],
    )
    features = ImageFeatures(str(tmp_path), weights=None, layer="logits")
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    found = features.fit_transform(images)
    predictor = jaxvision.load(tmp_path)
    np.testing.assert_allclose(
        found, predictor.features([*images], "logits"), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (np.full((2, 8, 8, 3), 2.0), {}, "values from 2 to 2, and a trained network"),
        (np.full((2, 8, 8, 3), np.nan), {}, "Input X contains NaN"),
        (np.zeros((2, 64)), {}, "X is [2, 64], and images are arrays"),
        (["gone.png"], {}, "1 files cannot be read"),
        (np.zeros((2, 8, 8, 3)), {"layer": "prelogits"}, "did you mean 'pre_logits'"),
        (np.zeros((2, 8, 8, 3)), {"batch_size": 0}, "batch_size must be at least 1"),
        (
            np.zeros((2, 8, 8, 3)),
            {"weights": None, "options": None, "preparing": None},
            "no run directory",
        ),
    ],
)
def test_what_has_no_features_is_told(features, images, options, words):
    with pytest.raises(ValueError) as caught:
        clone(features).set_params(**options).fit(images)
    assert words in str(caught.value)


def test_before_fit_there_is_nothing(features):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        clone(features).transform(coloured(2)[0])
    with pytest.raises(UsageError, match="give a list"):
        features.fit("photo.png")
