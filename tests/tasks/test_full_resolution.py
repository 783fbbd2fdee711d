"""Evaluation at the size of the original images, against plain NumPy."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvision import data, tasks, visualise
from jaxvision.data.source import Source
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.state import of_variables
from jaxvision.errors import UsageError
from jaxvision.ops.augment import normalise, random_shift
from jaxvision.types import UNKNOWN, Forward, Model

CLASSES = 5
SIZES = [(21, 30), (30, 21), (17, 17), (33, 40), (8, 25), (21, 30), (29, 5)]
PREPARE = normalise(0.5, 0.25)
TASK = tasks.segmentation(CLASSES, boundary_tolerance=0.05)


def score(images):
    """Scores of the classes for each pixel: smooth functions of its colours."""
    tables = np.random.default_rng(3).normal(size=(3, CLASSES)).astype(np.float32)
    product = jnp.matmul(images, jnp.asarray(tables), precision="highest")
    return jnp.sin(3 * product)


MODEL = Model(
    init=lambda key, images: {"params": {}},
    apply=lambda variables, images, train, key=None: ({"logits": score(images)}, {}),
)
FORWARD = Forward(lambda images, **_: ({"logits": score(images)}, {}), jnp.int32(0), {})


@pytest.fixture(scope="module")
def source():
    random = np.random.default_rng(0)
    files, masks = [], []
    for height, width in SIZES:
        coarse = random.integers(0, 256, (5, 6, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
        mask = random.integers(0, CLASSES, (height, width)).astype(np.uint8)
        mask[random.uniform(size=mask.shape) < 0.2] = UNKNOWN
        masks.append({"segmentation": mask})
    return Source(
        name="photos:test",
        size=len(SIZES),
        image_shape=(None, None, 3),
        class_names=tuple("abcde"),
        read=lambda: pytest.fail("a stream is not read as a whole"),
        targets=dict,
        encoded=files.__getitem__,
        maps=masks.__getitem__,
        sizes=lambda: np.array(SIZES, np.int32),
    )


def evaluated(task, pipeline, devices=1, **options):
    mesh = sharding.make_mesh(devices)
    state = sharding.place_resident(mesh, of_variables({"params": {}}))
    evaluator = Evaluator(MODEL, task, pipeline, mesh, frozen={}, seed=0)
    found = evaluator(state, **options)
    return found if options else found.metrics


def by_hand(source, crop):
    """The confusion of each image by itself, resized by PyTorch's rule in NumPy."""
    preparation = data.evaluation(source, 1, transform=PREPARE, crop=crop).preparation
    matrix = np.zeros((CLASSES, CLASSES), int)
    for i, (height, width) in enumerate(SIZES):
        images, _, taken = preparation.prepared([source.encoded(i)])
        batch = PREPARE(jax.random.key(0), {"image": jnp.asarray(images)})
        maps = np.asarray(score(batch["image"]))[0].astype(np.float64)
        left, top, right, bottom = taken[0].astype(np.float64)
        for axis, low, high, count in (
            (0, top, bottom, height),
            (1, left, right, width),
        ):
            side = maps.shape[axis]
            scale = side / (high - low)
            places = (np.arange(count) + 0.5 - low) * scale - 0.5
            # Of what is neither outside of the network's image nor of the original.
            start, end = np.ceil(max(-low * scale, 0)), min((count - low) * scale, side)
            places = places.clip(start, max(np.floor(end) - 1, start))
            first = np.floor(places).astype(int)
            share = np.expand_dims(places - first, (1 - axis, 2))
            below = np.take(maps, np.minimum(first + 1, side - 1), axis)
            maps = (1 - share) * np.take(maps, first, axis) + share * below
        predicted, true = maps.argmax(-1), source.maps(i)["segmentation"]
        known = true != UNKNOWN
        np.add.at(matrix, (true[known], predicted[known]), 1)
    return matrix


@pytest.mark.parametrize(
    "crop", [data.stretch(16), data.letterbox((16, 24)), data.padded((33, 40))]
)
def test_metrics_are_those_of_the_original_masks(source, crop):
    pipeline = data.evaluation(source, 4, transform=PREPARE, crop=crop, canvas=(34, 41))
    found = evaluated(TASK, pipeline)
    np.testing.assert_array_equal(found["confusion"], by_hand(source, crop))
    assert found["confusion"].sum() == sum(
        (source.maps(i)["segmentation"] != UNKNOWN).sum() for i in range(len(SIZES))
    )


@pytest.mark.parametrize(("batch_size", "devices"), [(3, 1), (7, 8)])
def test_neither_batches_devices_nor_the_canvas_change_anything(
    source, batch_size, devices
):
    one = data.evaluation(
        source, 1, transform=PREPARE, crop=data.stretch(16), canvas="largest"
    )
    other = data.evaluation(
        source, batch_size, transform=PREPARE, crop=data.stretch(16), canvas=(40, 64)
    )
    expected, found = evaluated(TASK, one), evaluated(TASK, other, devices)
    for name in ("confusion", "per_class_boundary_f1"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert 0 < found["boundary_f1"] < 1
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_pictures_show_the_originals(source, monkeypatch):
    pipeline = data.evaluation(
        source, 7, transform=PREPARE, crop=data.letterbox(24), canvas="largest"
    )
    found = evaluated(TASK, pipeline, with_galleries=True)
    drawn = {}
    monkeypatch.setattr(
        visualise,
        "comparison",
        lambda rows, *_, **__: drawn.update(rows),
        raising=False,
    )
    show = visualise.segmentation(source.class_names)
    figures = show.figures(found.galleries, found.metrics)
    assert figures.keys() == {"predictions.png", "iou.png", "confusion.png"}
    worst, sample = (
        {caption: row for caption, row in drawn.items() if caption.startswith(name)}
        for name in ("worst", "sample")
    )
    assert len(worst) == len(sample) == len(SIZES)
    for i, (image, truth, predicted, wrong) in enumerate(sample.values()):
        assert image.shape[:2] == wrong.shape[:2] == SIZES[i]
        ratio = SIZES[i][0] / SIZES[i][1]
        for overlay in (truth, predicted):
            assert overlay.shape[0] / overlay.shape[1] == pytest.approx(ratio, rel=0.02)
        whole = np.asarray(Image.open(io.BytesIO(source.encoded(i)))).astype(int)
        assert np.abs(whole - image).mean() < 25, "the image, a little blurred"
    shares = [float(caption.split(", ")[1].split("%")[0]) for caption in worst]
    assert shares == sorted(shares)


def test_padded_images_are_as_they_are(source):
    crop = data.padded((33, 40))
    pipeline = data.evaluation(source, 7, transform=PREPARE, crop=crop)
    (item,) = pipeline.items()
    for i, (height, width) in enumerate(SIZES):
        mask = item["segmentation"][i]
        whole = source.maps(i)["segmentation"]
        np.testing.assert_array_equal(mask[:height, :width], whole)
        pixels = np.asarray(Image.open(io.BytesIO(source.encoded(i))))
        np.testing.assert_array_equal(item["image"][i, :height, :width], pixels)
        outside = np.ones(mask.shape, bool)
        outside[:height, :width] = False
        assert (mask[outside] == UNKNOWN).all()
        assert (item["image"][i][outside] == 0).all()


def test_objects_stay_those_of_the_original_and_say_what_was_taken(source):
    boxes = np.array([[[2, 3, 5, 8]]] * len(SIZES), np.float32)
    targets = {"boxes": boxes, "classes": np.zeros((len(SIZES), 1), np.int32)}
    source = source._replace(targets=lambda: targets, maps=None)
    crop = data.letterbox((20, 24))
    pipeline = data.evaluation(source, 7, transform=PREPARE, crop=crop, canvas=(34, 41))
    (item,) = pipeline.items()
    np.testing.assert_array_equal(item["boxes"], boxes)
    cropped = data.evaluation(source, 7, transform=PREPARE, crop=crop)
    (moved,) = cropped.items()
    low, high = item["taken"][:, None, :2], item["taken"][:, None, 2:]
    scale = np.array([24, 20]) / (high - low)
    places = (boxes.reshape(-1, 2, 2) - low) * scale
    np.testing.assert_allclose(places.reshape(-1, 1, 4), moved["boxes"], atol=1e-4)
    batch = pipeline.gather({}, item)
    sides = [(int(c.any(1).sum()), int(c.any(0).sum())) for c in batch["canvas"]]
    assert sides == SIZES and "size" not in batch
    shapes = {name: array.shape for name, array in pipeline.stored().items()}
    assert shapes == {k: v.shape for k, v in batch.items() if k != "mask"}


def test_bad_input_is_named(source):
    def make(**options):
        return data.evaluation(
            source, 4, **{"transform": PREPARE, "crop": data.stretch(16)} | options
        )

    for options, message in (
        ({"canvas": (30, 50)}, r"30×50 .* does not hold .* \(33, 40\)"),
        ({"canvas": "larger"}, "unknown canvas 'larger'"),
        ({"canvas": 0}, "image size must be positive"),
    ):
        with pytest.raises(UsageError, match=message):
            make(**options)
    unknown = source._replace(sizes=None)
    with pytest.raises(UsageError, match="not known before they are decoded: give"):
        data.evaluation(
            unknown, 4, transform=PREPARE, crop=data.stretch(16), canvas="largest"
        )
    late = data.evaluation(
        unknown, 4, transform=PREPARE, crop=data.stretch(16), canvas=32, workers=0
    )
    with pytest.raises(UsageError, match=r"image 3 .* is 33×40 .* canvas of 32×32"):
        next(late.items())
    with pytest.raises(UsageError, match=r"larger than the 32×32 that it is padded to"):
        next(make(crop=data.padded(32), workers=0).items())
    moving = make(transform=random_shift(2), canvas="largest")
    batch = moving.gather({}, next(moving.items()))
    with pytest.raises(UsageError, match="annotations belong to the original images"):
        moving.transform(jax.random.key(0), batch)


def test_views_that_do_not_fit_are_named_before_the_training(source):
    pipeline = data.evaluation(source, 4, transform=PREPARE, crop=data.stretch(16))
    pipeline.check_measured_by(tasks.with_windows(TASK, 16))
    for task, message in (
        (tasks.with_windows(TASK, 17), "windows of 17×17 pixels do not fit into"),
        (tasks.with_scales(tasks.with_windows(TASK, 17)), "windows of 17×17"),
        (tasks.with_views(TASK, tasks.five_crops(20)), "crops of 20×20 pixels do not"),
    ):
        with pytest.raises(UsageError, match=message):
            pipeline.check_measured_by(task)


def images_of(height, width, count=2):
    draws = np.random.default_rng(4)
    return jnp.asarray(draws.normal(size=(count, height, width, 3)), jnp.float32)


def seen_by(task, images):
    """The probabilities that a wrapped task predicts by."""
    found = {}

    def predict(forward, batch, *, keys):
        found["shares"] = jax.nn.softmax(forward(batch["image"])[0]["logits"])
        return {}

    plain = TASK._replace(predict=predict)
    task(plain).predict(FORWARD, {"image": images}, keys=None)
    return found["shares"]


def test_windows_of_a_network_that_sees_single_pixels_change_nothing():
    images = images_of(11, 14)
    found = seen_by(lambda task: tasks.with_windows(task, (4, 5), overlap=0.4), images)
    np.testing.assert_allclose(found, jax.nn.softmax(score(images)), atol=1e-6)


def test_windows_are_merged_where_they_overlap():
    """By a network whose answer depends on the place in the window."""

    def call(images, **_):
        ramp = jnp.arange(images.shape[2], dtype=jnp.float32)[None, None, :, None]
        logits = jnp.concatenate([score(images), score(images) * 0 + ramp], axis=-1)
        return {"logits": logits}, {}

    task = tasks.segmentation(2 * CLASSES)
    images = images_of(6, 10, 1)
    found = {}

    def predict(forward, batch, *, keys):
        found["shares"] = jax.nn.softmax(forward(batch["image"])[0]["logits"])
        return {}

    wrapped = tasks.with_windows(task._replace(predict=predict), 6, overlap=0.5)
    wrapped.predict(FORWARD._replace(call=call), {"image": images}, keys=None)
    sums, counts = np.zeros((6, 10, 2 * CLASSES)), np.zeros((1, 10, 1))
    for left in (0, 3, 4):
        window = images[:, :, left : left + 6]
        sums[:, left : left + 6] += jax.nn.softmax(call(window)[0]["logits"])[0]
        counts[:, left : left + 6] += 1
    np.testing.assert_allclose(found["shares"][0], sums / counts, atol=1e-6)


def test_scales_and_mirror_images_are_moved_back():
    images = images_of(16, 24)
    same = seen_by(lambda task: tasks.with_scales(task, mirror=True), images)
    np.testing.assert_allclose(same, jax.nn.softmax(score(images)), atol=1e-6)
    found = seen_by(lambda t: tasks.with_scales(t, (1.0, 1.5), multiple=8), images)
    large = jax.image.resize(images, (2, 24, 32, 3), "bilinear")
    back = jax.image.resize(
        jax.nn.softmax(score(large)),
        (2, 16, 24, CLASSES),
        "bilinear",
        antialias=False,
    )
    expected = (jax.nn.softmax(score(images)) + back) / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_views_that_cannot_be_had_are_named():
    for make, message in (
        (lambda: tasks.with_windows(TASK, 0), "size of the windows must be positive"),
        (
            lambda: tasks.with_windows(TASK, 8, overlap=1),
            r"overlap must be in \[0, 1\)",
        ),
        (lambda: tasks.with_scales(TASK, ()), r"scales must be factors in \(0, 16\]"),
        (lambda: tasks.with_scales(TASK, multiple=0), "multiple must be at least 1"),
        (
            lambda: seen_by(lambda t: tasks.with_windows(t, 8), images_of(7, 9)),
            r"windows of 8×8 pixels do not fit into images of 7×9",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            make()
