"""A network as a classifier of scikit-learn."""

import pickle
import signal
import tempfile

import jax
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxvision import models, pretrained
from jaxvision.errors import UsageError
from jaxvision.estimators import ImageClassifier, ImageFeatures

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def coloured(count=60, size=8, seed=0):
    """Noisy images uint8 [N,size,size,3] of a colour, and its name."""
    random = np.random.default_rng(seed)
    labels = random.choice([*COLOURS], count)
    images = np.array([COLOURS[label] for label in labels])[:, None, None]
    noise = random.normal(0, 30, (count, size, size, 3))
    return (images + noise).clip(0, 255).astype(np.uint8), labels


def small(model="mlp", **options):
    """A classifier that learns the colours in a second or two."""
    options = {"model_options": {"hidden": (16,)}, "learning_rate": 0.02} | options
    return ImageClassifier(model, **{"epochs": 4, "random_state": 0} | options)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(*coloured())


def test_labels_of_any_type_are_learned_and_predicted(fitted):
    images, labels = coloured(seed=1)
    assert fitted.classes_.tolist() == sorted(COLOURS)
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (60, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    predicted = fitted.predict(images)
    assert (predicted == fitted.classes_[probabilities.argmax(1)]).all()
    assert fitted.score(images, labels) > 0.95


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x / 255, id="from 0 to 1", marks=pytest.mark.slow),
        pytest.param(lambda x: 1e3 * x.astype(np.float64) - 7e4, id="any range"),
        pytest.param(np.int64, id="whole numbers", marks=pytest.mark.slow),
    ],
)
def test_numbers_of_any_range_give_what_bytes_give(fitted, change):
    images, labels = coloured()
    numbers = small().fit(change(images), labels)
    assert numbers.image_dtype_ == "float32"
    others, _ = coloured(seed=1)
    found = numbers.predict_proba(change(others))
    np.testing.assert_allclose(found, fitted.predict_proba(others), atol=0.02)


def test_the_random_state_decides_every_bit(fitted):
    again, other = (small(random_state=s).fit(*coloured()) for s in (0, 1))
    images, _ = coloured(seed=1)
    np.testing.assert_array_equal(
        again.predict_proba(images), fitted.predict_proba(images)
    )
    assert (other.predict_proba(images) != fitted.predict_proba(images)).any()


def test_what_is_fitted_can_be_pickled_and_cloned(fitted):
    images, _ = coloured(seed=1)
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        restored.predict_proba(images), fitted.predict_proba(images)
    )
    unfitted = clone(fitted)
    assert unfitted.get_params() == fitted.get_params()
    assert not hasattr(unfitted, "classes_")
    assert unfitted.set_params(epochs=7).epochs == 7


def test_nothing_is_printed_or_left_behind(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    small().fit(*coloured())
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    small(verbose=True).fit(*coloured())
    assert "epoch" in capfd.readouterr().out


@pytest.mark.slow
def test_it_is_searched_and_cross_validated():
    images, labels = coloured()
    rates = {"learning_rate": [1e-6, 0.02]}
    search = GridSearchCV(small(), rates, cv=2, refit=False).fit(images, labels)
    assert search.best_params_ == {"learning_rate": 0.02}
    assert cross_val_score(small(), images, labels, cv=2).mean() > 0.8


def test_flattened_images_come_through_a_pipeline_with_their_names():
    images, labels = coloured(size=4)
    columns = [f"pixel{i}" for i in range(48)]
    table = pd.DataFrame(images.reshape(60, -1), columns=columns)
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        small(image_shape=(4, -1, 3)),
    ).fit(table, labels)
    assert pipeline.score(table, labels) > 0.95
    classifier = pipeline[-1]
    assert classifier.image_shape_ == (4, 4, 3) and classifier.n_features_in_ == 48
    assert classifier.feature_names_in_.tolist() == columns


@pytest.mark.slow
def test_partial_fit_goes_on(fitted):
    images, labels = coloured()
    classifier = small(batch_size=6)
    for half in (slice(0, 30), slice(30, 60)) * 2:
        classifier.partial_fit(images[half], labels[half], classes=[*COLOURS])
    assert classifier.score(*coloured(seed=1)) > 0.9
    # After `fit` too, with its classes and from its weights.
    further = pickle.loads(pickle.dumps(fitted))
    further.set_params(learning_rate=1e-9).partial_fit(images[:20], labels[:20])
    np.testing.assert_allclose(
        further.predict_proba(images), fitted.predict_proba(images), atol=1e-4
    )


def test_the_best_epoch_is_chosen_on_images_that_are_held_out():
    images, labels = coloured()
    classifier = small(validation=0.25).fit(images, labels)
    validated = [row for row in classifier.history_ if "validation/accuracy" in row]
    assert len(validated) == 4
    assert classifier.score(images, labels) > 0.9


@pytest.fixture
def files(tmp_path):
    images, labels = coloured(24, size=12)
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for i, (path, image) in enumerate(zip(paths, images, strict=True)):
        Image.fromarray(image[: 8 + i % 5]).save(path)
    return paths, labels


def test_images_of_files_are_read_as_they_are_needed(files):
    paths, labels = files
    classifier = small(image_size=8, augment="crop_flip", batch_size=6, epochs=40)
    classifier.fit(paths, labels)
    assert classifier.image_shape_ is None
    assert classifier.score(pd.Series(list(map(str, paths))), labels) > 0.9
    with pytest.raises(UsageError, match=r"X is uint8 images of 8×8×3, and fit saw fi"):
        classifier.predict(coloured()[0])
    paths[3].write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"(?s)2 files cannot be read:.*3\.png.*gone"):
        small().fit([*paths, "gone.png"], [*labels, "red"])


@pytest.mark.slow
def test_published_weights_are_begun_with(tmp_path):
    model = models.create("mlp", hidden=(16,))
    black = np.zeros((1, 28, 28, 1), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), black)
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, "mlp", variables)
    classifier = small(weights=file, image_size=28, learning_rate=1e-9, epochs=1)
    images, labels = coloured()
    grey = images[..., 0]
    params = classifier.fit(grey, labels).variables_["params"]
    hidden = variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(params["Dense_0"]["kernel"], hidden, atol=1e-6)
    assert params["Dense_1"]["kernel"].shape == (16, 3)
    with pytest.raises(UsageError, match="from 0 to 1: divide them, or give bytes"):
        classifier.fit(grey.astype(float), labels)


IMAGES, LABELS = coloured(12)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((IMAGES, None), {}, "requires y to be passed"),
        ((IMAGES, LABELS[:-1]), {}, "inconsistent numbers of samples"),
        ((IMAGES, ["red"] * 12), {}, "y has one class only, ['red']"),
        ((IMAGES, np.full(12, np.nan)), {}, "Input y contains NaN"),
        ((np.where(IMAGES == IMAGES.max(), np.inf, IMAGES), LABELS), {},
         "Input X contains infinity"),
        (([*IMAGES[:6], *IMAGES[6:, :4]], LABELS), {},
         "must have one size and dtype, got uint8 [8, 8, 3] (6), uint8 [4, 8, 3] (6)"),
        (([*IMAGES[:6], *(IMAGES[6:] / 255)], LABELS), {}, "one size and dtype, got"),
        ((IMAGES[:, 0, 0], LABELS), {}, "give image_shape=(H, W)"),
        ((IMAGES.reshape(12, -1), LABELS), {"image_shape": (5, 5)},
         "192 columns are no image of image_shape=(5, 5)"),
        ((np.moveaxis(IMAGES, 3, 1), LABELS), {}, "channels first: give numpy.moveax"),
        ((IMAGES[None], LABELS[:1]), {}, "images are arrays [N,H,W] or [N,H,W,C]"),
        (("photo.png", ["a"]), {}, "is the path 'photo.png': give a list"),
        ((IMAGES, LABELS), {"model": "resnet5O"}, "did you mean"),
        ((IMAGES, LABELS), {"model_options": {"deep": 3}}, "unknown option"),
        ((IMAGES, LABELS), {"augment": "flip"}, "unknown augmentation 'flip'"),
        ((IMAGES, LABELS), {"epochs": 0}, "epochs must be at least 1, got 0"),
        ((IMAGES, LABELS), {"batch_size": 0}, "batch_size must be at least 1"),
        ((IMAGES, LABELS), {"validation": 1}, "validation must be a share in [0, 1)"),
        ((IMAGES, LABELS), {"learning_rate": -1}, "must be positive, got -1"),
        ((IMAGES, LABELS), {"weights": "gone.safetensors"}, "gone.safetensors"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_told(monkeypatch, arguments, options, words):
    monkeypatch.setattr("jaxvision.engine.loop.Checkpoints.save", None)
    with pytest.raises(ValueError) as caught:
        small(**options).fit(*arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[:, :4], "uint8 images of 4×8×3, and fit saw uint8 images of 8×8×3"),
        (IMAGES / 255, "X is float32 images of 8×8×3, and fit saw uint8"),
        (IMAGES[:0], "minimum of 1 is required"),
        (IMAGES[..., 0], "X is uint8 images of 8×8×1, and fit saw"),
    ],
)
def test_other_images_than_those_of_fit_are_told(fitted, images, words):
    with pytest.raises(ValueError) as caught:
        fitted.predict(images)
    assert words in str(caught.value)


def test_what_partial_fit_cannot_go_on_with_is_told(fitted):
    classifier = small()
    with pytest.raises(UsageError, match="classes must be passed on the first call"):
        classifier.partial_fit(IMAGES, LABELS)
    with pytest.raises(UsageError, match=r"the labels \['red'\], not among"):
        classifier.partial_fit(IMAGES, LABELS, classes=["blue", "green"])
    assert not hasattr(classifier, "classes_")
    further = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(UsageError, match=r"the labels \['white'\], not among"):
        further.partial_fit(IMAGES[:1], ["white"])
    with pytest.raises(UsageError, match="in the calls before they were other ones"):
        further.partial_fit(IMAGES[:1], ["red"], classes=["red", "white"])


def test_a_training_that_diverges_says_what_to_do():
    with pytest.raises(UsageError, match="lower the learning_rate, 1e\\+30"):
        small(learning_rate=1e30).fit(IMAGES, LABELS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_training_and_are_handed_on(fitted, monkeypatch, number):
    sent = [number]

    def handler(number, frame):
        raise ZeroDivisionError

    def score(*arguments):
        if sent:
            signal.raise_signal(sent.pop())
        return 0.0

    monkeypatch.setattr("jaxvision.engine.loop._score", score)
    before = signal.signal(number, handler)
    classifier = pickle.loads(pickle.dumps(fitted)).set_params(validation=0.5)
    try:
        with pytest.raises(ZeroDivisionError):
            classifier.fit(IMAGES, LABELS)
    finally:
        signal.signal(number, before)
    with pytest.raises(NotFittedError):  # nor is it what it was fitted to before
        classifier.predict(IMAGES)


# Rows of numbers, as the checks have them, are images of one row.
@pytest.mark.slow
@parametrize_with_checks([small(image_shape=(1, -1), augment=None)])
def test_estimator_checks(estimator, check):
    check(estimator)


# Of estimators that take no tables, scikit-learn checks but these.
@pytest.mark.parametrize("estimator", [ImageClassifier(), ImageFeatures()])
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_checks_of_parameters_and_tags(estimator, check):
    check(type(estimator).__name__, estimator)
    assert not get_tags(estimator).input_tags.two_d_array
