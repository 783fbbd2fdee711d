"""Resizing on the host: as Pillow does it, and as the device does it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision import data
from jaxvision.data.feed.crops import DRAWS, Box, central_crop, random_resized_crop
from jaxvision.data.feed.jpeg import cut, decode_box
from jaxvision.data.feed.resizing import resize
from jaxvision.data.files.decoding import decode
from jaxvision.errors import UsageError
from jaxvision.ops.resample import crop_and_resize
from jaxvision.recipes import recipe_of

PHOTOS = Path(__file__).parents[4] / "shared" / "datasets" / "imagenet-photos-200"
SIZES = [(37, 53), (20, 90), (74, 26), (5, 9), (110, 131), (7, 140), (73, 53), (1, 1)]


def noise(height=74, width=53, channels=3):
    generator = np.random.default_rng(height)
    return generator.integers(0, 256, (height, width, channels), np.uint8)


def pillow(image, size, resample):
    """Each channel by itself, as Pillow does it too."""
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], resample), int)
        for plane in np.moveaxis(image, 2, 0).copy()
    ]
    return np.stack(planes, axis=2)


def resized(image, size, method="bilinear"):
    out = np.empty((*size, image.shape[2]), np.uint8)
    resize(image, out, method)
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_each_side_is_filtered_as_pillow_does(size, channels):
    image = noise(channels=channels)
    difference = resized(image, size) - pillow(image, size, Image.BILINEAR)
    assert np.abs(difference).max() <= 1
    np.testing.assert_array_equal(
        resized(image, size, "bicubic"), pillow(image, size, Image.BICUBIC)
    )


def test_fine_stripes_become_grey():
    # One white column in ten: without a wider filter all of them are missed.
    image = np.zeros((640, 640, 3), np.uint8)
    image[:, ::10] = 255
    for turned in (image, image.swapaxes(0, 1)):
        found = resized(turned, (64, 64))
        assert np.abs(found - pillow(turned, (64, 64), Image.BILINEAR)).max() <= 1
        assert found.mean() == pytest.approx(25.5, abs=1)
        one_side = resized(turned, (64, 640)), resized(turned, (640, 64))
        # Across the stripes they become grey, and along them they stay.
        assert sorted(one.std() < 2 for one in one_side) == [False, True]


def test_a_part_of_a_larger_image_is_taken_and_filled():
    image, out = noise(), np.zeros((40, 40, 3), np.uint8)
    resize(image[10:60, 3:50], out[5:25, 8:30])
    wanted = pillow(image[10:60, 3:50], (20, 22), Image.BILINEAR)
    assert np.abs(out[5:25, 8:30] - wanted).max() <= 1
    assert out.any(axis=2).sum() <= 20 * 22


@pytest.mark.parametrize("size", [32, 64, 224])
def test_photographs_are_those_of_pillow(size):
    """All of them, with crops of every ratio: within one level."""
    if not PHOTOS.is_dir():
        pytest.skip(f"there are no photographs in {PHOTOS}")
    draws = np.random.default_rng(0)
    crop = random_resized_crop(size)
    out = np.empty((size, size, 3), np.uint8)
    for path in sorted(PHOTOS.glob("*.JPEG"))[:: 1 if size == 64 else 4]:
        encoded = path.read_bytes()
        image = Image.fromarray(decode(encoded, 3))
        drawn = iter(draws.random(DRAWS).tolist())
        box = crop.choose(image.height, image.width, drawn)
        decode_box(encoded, lambda *_, box=box: box, out)
        region = image.crop(
            (box.left, box.top, box.left + box.width, box.top + box.height)
        )
        wanted = np.asarray(region.resize((size, size), Image.BILINEAR), int)
        assert np.abs(out - wanted).max() <= 1, path.name


@pytest.mark.slow
def test_memory_stream_and_device_agree_within_a_level():
    """The host's part is the same to the bit; the device rounds once and not twice."""
    image = noise(120, 90)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    pixels = decode(file.getvalue(), 3)
    for box in (Box(3, 5, 110, 70), Box(0, 0, 120, 90), Box(60, 40, 9, 50)):
        for size in ((32, 32), (16, 61), (130, 24)):
            streamed, stored = np.empty((2, *size, 3), np.uint8)
            decode_box(file.getvalue(), lambda *_, box=box: box, streamed)
            cut(pixels, box, stored)
            np.testing.assert_array_equal(streamed, stored)
            corners = [box.left, box.top, box.left + box.width, box.top + box.height]
            on_device = crop_and_resize(
                pixels[None], np.array([corners], np.float32), size
            )
            assert np.abs(np.asarray(on_device[0], int) - streamed).max() <= 1


def test_the_method_belongs_to_the_crop_and_is_saved_with_it():
    image = noise(60, 60)
    for method, resample in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
        crop = central_crop(24, resize=1, method=method)
        assert recipe_of(crop)["arguments"]["method"] == method
        preparation = data.feed.preparation.Preparation(
            3, crop, lambda key, batch: batch
        )
        found = preparation.images([image])[0]
        assert np.abs(found - pillow(image, (24, 24), resample)).max() <= 1
    with pytest.raises(UsageError, match="unknown method of resizing 'lanczos'"):
        random_resized_crop(24, method="lanczos")
