"""Images from elsewhere become what the evaluation pipeline makes of them."""

import io
import json
import os

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvision import data
from jaxvision.data.feed.crops import (
    Crop,
    central_crop,
    letterbox,
    object_crop,
    padded,
    random_resized_crop,
    random_scaled_crop,
    resized_crop,
    stretch,
    uncropped,
)
from jaxvision.data.feed.preparation import Preparation
from jaxvision.data.source import Source
from jaxvision.errors import UsageError
from jaxvision.ops import augment
from jaxvision.recipes import CROPS, recipe_of

PREPARE = augment.normalise(0.4, 0.2)


def photo(height=60, width=80, mode="RGB"):
    coarse = np.random.default_rng(height).integers(0, 256, (6, 8, 4), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert("RGB").convert(mode) if mode != "RGBA" else image


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


FILES = {
    "colour.jpg": encode(photo(70, 90), "JPEG"),
    "large.jpg": encode(photo(300, 400), "JPEG"),
    "progressive.jpg": encode(photo(65, 43), "JPEG", progressive=True),
    "turned.jpg": encode(photo(41, 90), "JPEG", exif=exif(6)),
    "grey.jpg": encode(photo(72, 50, "L"), "JPEG"),
    "cmyk.jpg": encode(photo(73, 50, "CMYK"), "JPEG"),
    "colour.png": encode(photo(74, 51), "PNG"),
    "palette.png": encode(photo(75, 52, "P"), "PNG"),
    "transparent.png": encode(photo(76, 53, "RGBA"), "PNG"),
    "deep.png": encode(photo(77, 54, "I;16"), "PNG"),
    "picture.webp": encode(photo(78, 55), "WEBP"),
}


@pytest.fixture
def paths(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in FILES]


def source_of(files, channels, shape=(None, None)):
    labels = np.arange(len(files), dtype=np.int32)
    return Source(
        name="photos:test",
        size=len(files),
        image_shape=(*shape, channels),
        class_names=tuple(map(str, labels)),
        read=lambda: pytest.fail("a stream is not read as a whole"),
        targets=lambda: {"label": labels},
        encoded=files.__getitem__,
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "crop",
    [central_crop(32), central_crop((20, 48), resize=1), letterbox(30), stretch(9)],
)
def test_files_are_prepared_as_the_pipeline_streams_them(crop, channels, paths):
    files = [*FILES.values()]
    pipeline = data.evaluation(
        source_of(files, channels), len(files), transform=PREPARE, crop=crop
    )
    (item,) = pipeline.items()
    prepared = pipeline.preparation.images(paths)
    assert prepared.dtype == np.uint8 and prepared.std() > 20
    np.testing.assert_array_equal(prepared, item["image"])
    for same in (files, [str(path) for path in paths]):
        np.testing.assert_array_equal(pipeline.preparation.images(same), prepared)

    key = jax.random.key(0)
    batch = pipeline.preparation.transform(key, {"image": prepared})
    expected = pipeline.fetch(pipeline.resident(), item, key)
    np.testing.assert_array_equal(batch["image"], expected["image"])


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_a_set_of_ones_own_and_its_files_in_either_storage(storage, tmp_path):
    for i in range(10):
        path = tmp_path / "set" / ["cat", "dog"][i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(24 + i, 30).resize((30, 24)).save(path)
    test = data.load(f"folder:{tmp_path / 'set'}").test
    pipeline = data.evaluation(test, test.size, transform=PREPARE, storage=storage)
    (item,) = pipeline.items()
    batch = pipeline.gather(pipeline.resident(), item)
    paths = [test.encoded.root / path for path in test.encoded.paths]
    np.testing.assert_array_equal(pipeline.preparation.images(paths), batch["image"])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
def test_pixels_are_prepared_as_a_lossless_file_of_them(mode, channels):
    image = photo(44, 60, "RGBA").convert(mode)
    preparation = Preparation(channels, central_crop(20), PREPARE)
    pixels = np.asarray(image)
    expected = preparation.images([encode(image, "PNG")])
    np.testing.assert_array_equal(preparation.images([pixels]), expected)
    if mode == "L":
        np.testing.assert_array_equal(preparation.images([pixels[..., None]]), expected)
    flipped = preparation.images([pixels[:, ::-1]])  # not contiguous
    np.testing.assert_array_equal(flipped, preparation.images([pixels[:, ::-1].copy()]))
    assert preparation.images([]).shape == (0, 20, 20, channels)


def test_everything_that_cannot_be_prepared_is_named(tmp_path, paths):
    (tmp_path / "torn.png").write_bytes(FILES["colour.png"][:200])
    preparation = Preparation(3, uncropped((70, 90)), PREPARE)
    with pytest.raises(UsageError) as caught:
        preparation.images(
            [
                paths[0],
                tmp_path / "nowhere.jpg",
                tmp_path / "torn.png",
                b"no image",
                paths[1],
                np.zeros((70, 90, 3), np.float32),
                np.zeros((70, 90, 5), np.uint8),
                np.zeros((70, 91, 3), np.uint8),
            ]
        )
    head, *lines = str(caught.value).splitlines()
    assert head == "7 of 8 images cannot be prepared:"
    expected = [
        (f"{tmp_path / 'nowhere.jpg'}: ", "No such file"),
        (f"{tmp_path / 'torn.png'}: ", ""),
        ("image 3: ", "not an image"),
        (f"{paths[1]}: ", "300×400 (height × width) and not 70×90"),
        ("image 5: ", "float32 [70, 90, 3]: expected pixels uint8"),
        ("image 6: ", "5 channels: expected 3"),
        ("image 7: ", "70×91 (height × width) and not 70×90"),
    ]
    assert len(lines) == len(expected)
    for line, (start, words) in zip(lines, expected, strict=True):
        assert line.strip().startswith(start) and words in line, line


def test_a_single_picture_is_no_list(paths):
    preparation = Preparation(3, central_crop(8), PREPARE)
    for picture in (paths[0], str(paths[0]), FILES["grey.jpg"]):
        with pytest.raises(UsageError, match="expected a list of images"):
            preparation.images(picture)


def test_many_bad_images_are_counted():
    preparation = Preparation(3, uncropped(8), PREPARE)
    with pytest.raises(UsageError, match="33 of 33 images") as caught:
        preparation.images([b"x"] * 33)
    assert str(caught.value).splitlines()[-1].strip() == "… and 13 more"


def test_a_set_without_files_takes_pixels_of_its_own_channels():
    test = data.load("synthetic:5x7x2:3").test
    pipeline = data.evaluation(test, 8, transform=PREPARE)
    images = test.read()["image"][:4]
    np.testing.assert_array_equal(pipeline.preparation.images(images), images)
    with pytest.raises(UsageError, match="1 or 3 channels, not the expected 2"):
        pipeline.preparation.images([FILES["colour.png"]])


def test_random_crops_belong_to_training():
    source = source_of([*FILES.values()], 3)
    options = {"transform": PREPARE, "crop": random_resized_crop(16)}
    assert data.train(source, 2, seed=0, **options).preparation is None
    with pytest.raises(UsageError, match="draws random numbers"):
        data.evaluation(source, 2, **options)


EACH = [
    random_resized_crop((12, 20), scale=(0.3, 0.9), ratio=(0.5, 1.5)),
    central_crop(16, resize=1.1),
    stretch((4, 9)),
    letterbox(12),
    uncropped((60, 80)),
    resized_crop((12, 20), resize=24),
    random_scaled_crop((12, 20), scale=(0.1, 0.9)),
    object_crop((12, 20), zoom=(0.8, 1.2)),
    padded((64, 90)),
]


def test_every_crop_has_a_recipe():
    assert {recipe_of(crop)["name"] for crop in EACH} == {*CROPS.names()}


@pytest.mark.parametrize("crop", EACH, ids=lambda crop: recipe_of(crop)["name"])
def test_a_crop_is_made_again_from_its_recipe(crop):
    saved = json.loads(json.dumps(recipe_of(crop)))
    again = CROPS.make(saved)
    assert (again.size, recipe_of(again)) == (crop.size, recipe_of(crop))
    draws = np.random.default_rng(0).random((20, 22)).tolist()
    for each in draws:
        assert again.choose(60, 80, iter(each)) == crop.choose(60, 80, iter(each))


def test_a_crop_of_another_version_is_named():
    with pytest.raises(UsageError, match=r"unknown crop 'centre_crop'.*'central_crop'"):
        CROPS.make({"name": "centre_crop", "arguments": {"size": 3}})


@pytest.mark.parametrize("crop", EACH[1:4], ids=lambda crop: recipe_of(crop)["name"])
def test_a_preparation_is_saved_and_loaded(crop):
    transform = augment.compose(augment.pad(2), augment.normalise(0.1, 0.28))
    preparation = Preparation(3, crop, transform)
    saved = json.loads(json.dumps(preparation.save()))
    assert saved["version"] == 1
    loaded = Preparation.load(saved)
    assert loaded.save() == saved
    images = preparation.images([*FILES.values()])
    np.testing.assert_array_equal(loaded.images([*FILES.values()]), images)
    key = jax.random.key(0)
    expected = preparation.transform(key, {"image": images})["image"]
    result = loaded.transform(key, {"image": images})["image"]
    np.testing.assert_array_equal(result, expected)


def test_a_function_of_ones_own_cannot_be_saved():
    def darken(key, batch):
        return batch

    with pytest.raises(UsageError, match=r"transform .*darken .*cannot be saved"):
        Preparation(3, stretch(8), darken).save()
    own = Crop((8, 8), stretch(8).choose)
    with pytest.raises(UsageError, match=r"crop stretch.*cannot be saved"):
        Preparation(3, own, PREPARE).save()


def test_another_format_version_is_refused():
    saved = {"version": 2, "channels": 3, "crop": {}, "transform": {}}
    with pytest.raises(UsageError, match=r"format version 2, and .* reads 1"):
        Preparation.load(saved)


@pytest.mark.parametrize(
    "damage",
    [
        [],
        None,
        {"version": 1},
        {"channels": None},
        {"channels": "many"},
        {"crop": None},
        {"crop": {"name": ["stretch"], "arguments": {}}},
        {"crop": {"name": "stretch", "arguments": {"size": "x"}}},
        {"crop": {"name": "stretch", "arguments": {"sizes": 8}}},
        {"transform": 7},
        {"transform": {"name": "pad", "arguments": []}},
        {"transform": {"name": "normalise", "arguments": {"mean": "x", "std": {}}}},
    ],
)
def test_what_is_no_preparation_is_refused(damage):
    saved = Preparation(3, stretch(8), PREPARE).save()
    if isinstance(damage, dict):
        damage = damage if "version" in damage else saved | damage
    with pytest.raises(UsageError):
        Preparation.load(damage)


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UsageError, match=r"pipe\.jpg: it is a pipe"):
        Preparation(3, stretch(8), PREPARE).images([tmp_path / "pipe.jpg"])
