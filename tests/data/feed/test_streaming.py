"""Streaming: the same batches whatever the workers, processes and interruptions."""

import gc
import io
import itertools
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvision import data
from jaxvision.data.feed import jpeg
from jaxvision.data.feed.crops import (
    Box,
    Crop,
    central_crop,
    letterbox,
    random_resized_crop,
    random_scaled_crop,
    stretch,
)
from jaxvision.data.files.decoding import DecodeError, decode
from jaxvision.data.files.image_files import Annotated, splits
from jaxvision.data.source import Source
from jaxvision.errors import UsageError

SIZE = 23


def photo(seed, height=60, width=80, mode="RGB"):
    """Something smooth, as JPEG likes it, that differs at every place."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.BICUBIC).convert(mode)


def encode(image, format="JPEG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


FILES = [encode(photo(i, 40 + i, 50 + 3 * i)) for i in range(SIZE)]


def make_source(files=FILES, channels=3):
    labels = np.arange(len(files), dtype=np.int32)
    return Source(
        name="photos:train",
        size=len(files),
        image_shape=(None, None, channels),
        class_names=tuple(map(str, labels)),
        read=lambda: pytest.fail("a stream is not read as a whole"),
        targets=lambda: {"label": labels},
        encoded=files.__getitem__,
    )


def as_is(key, batch):
    return batch


def train(source=None, batch_size=6, **options):
    options = {"transform": as_is, "seed": 3, "workers": 2} | options
    options = {"crop": random_resized_crop(16)} | options
    return data.train(source or make_source(), batch_size, **options)


def evaluation(source=None, batch_size=6, **options):
    options = {"transform": as_is, "workers": 2, "crop": central_crop(16)} | options
    return data.evaluation(source or make_source(), batch_size, **options)


def take(items, count):
    return [next(items) for _ in range(count)]


def shares(batch_size, count):
    """The rows of each of `count` processes."""
    share = batch_size // count
    return [slice(i * share, (i + 1) * share) for i in range(count)]


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


# --- training -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_batches_do_not_depend_on_the_workers(workers):
    alone = take(train(workers=0).items(), 7)
    assert_same(take(train(workers=workers).items(), 7), alone)
    assert_same(take(train(workers=workers, prefetch=0).items(), 7), alone)
    assert alone[0]["image"].shape == (6, 16, 16, 3)
    assert alone[0]["image"].dtype == np.uint8
    assert alone[0]["label"].dtype == np.int32


def test_each_epoch_shows_no_example_twice_and_drops_its_remainder():
    pipeline = train()
    assert pipeline.num_batches == 3 and pipeline.num_examples == SIZE
    labels = np.array([item["label"] for item in take(pipeline.items(), 9)])
    epochs = labels.reshape(3, 18)
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])


def test_the_first_batch_is_frozen():
    """Another order or other crops would change every published number."""
    drawn = []
    crop = random_resized_crop(16)

    def choose(*image):
        drawn.append(crop.choose(*image))
        return drawn[-1]

    spied = Crop(crop.size, choose)
    item = next(train(batch_size=4, seed=0, workers=0, crop=spied).items())
    assert item["label"].tolist() == FIRST_LABELS
    assert drawn == FIRST_BOXES


FIRST_LABELS = [11, 3, 20, 13]
FIRST_BOXES = [
    Box(0, 14, 51, 67),
    Box(2, 24, 35, 30),
    Box(24, 63, 34, 40),
    Box(8, 17, 42, 55),
]


def test_an_example_is_cropped_anew_in_each_epoch():
    source = make_source(FILES[:2])
    first, second = take(train(source, batch_size=2).items(), 2)
    images = [item["image"][item["label"].argsort()] for item in (first, second)]
    assert not np.array_equal(images[0], images[1])


def test_crops_are_those_of_the_whole_image():
    whole = random_resized_crop(16, scale=(1.0, 1.0), ratio=(0.1, 10))
    item = next(train(make_source(FILES[:1]), 1, crop=whole).items())
    image = np.asarray(Image.open(io.BytesIO(FILES[0])))
    small = np.asarray(Image.fromarray(image).resize((16, 16), Image.BOX), int)
    # Of area 1 only the image itself, up to rounding, fits.
    assert np.abs(small - item["image"][0]).mean() < 12


@pytest.mark.parametrize("position", [0, 1, 3, 5])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_state_restores_the_exact_next_batch(position, workers):
    items = train().items()
    take(items, position)
    state = items.get_state()
    expected = take(items, 5)
    resumed = train(workers=workers).items()
    next(resumed)
    resumed.set_state(state)
    assert resumed.get_state() == state
    assert_same(take(resumed, 5), expected)


def test_four_processes_saved_two_restored():
    batches = take(train(batch_size=8).items(), 6)

    def processes(count):
        return [train(batch_size=8).items(rows) for rows in shares(8, count)]

    def gather(hosts, count):
        steps = zip(*(take(host, count) for host in hosts), strict=True)
        return [
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            for parts in steps
        ]

    four = processes(4)
    assert_same(gather(four, 3), batches[:3])
    states = [host.get_state() for host in four]
    assert all(state == states[0] for state in states)
    two = processes(2)
    for host in two:
        host.set_state(states[0])
    assert_same(gather(two, 3), batches[3:])


def test_state_of_other_data_is_refused():
    state = train().items().get_state()
    reordered = make_source(FILES[::-1])
    with pytest.raises(UsageError, match="fingerprint"):
        train(reordered).items().set_state(state)
    relabelled = make_source()._replace(
        targets=lambda: {"label": np.zeros(SIZE, np.int32)}
    )
    with pytest.raises(UsageError, match="fingerprint"):
        train(relabelled).items().set_state(state)
    with pytest.raises(UsageError, match="seed: was 3, is 4"):
        train(seed=4).items().set_state(state)


def test_the_transform_runs_on_the_device():
    def brighten(key, batch):
        return {**batch, "image": batch["image"] / 255 + jax.random.uniform(key)}

    pipeline = train(transform=brighten)
    item, key = next(pipeline.items()), jax.random.key(1)
    batch = jax.jit(pipeline.fetch)(pipeline.resident(), item, key)
    expected = item["image"] / np.float32(255) + np.asarray(jax.random.uniform(key))
    np.testing.assert_allclose(batch["image"], expected, rtol=1e-6)
    np.testing.assert_array_equal(batch["label"], item["label"])


# --- evaluation -----------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 6, SIZE, 40])
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_shows_every_example_once_in_order(batch_size, workers):
    pipeline = evaluation(batch_size=batch_size, workers=workers)
    seen, count = [], 0
    for item in pipeline.items():
        batch = pipeline.fetch(pipeline.resident(), item, jax.random.key(0))
        assert batch["image"].shape == (batch_size, 16, 16, 3)
        assert batch["mask"].shape == (batch_size,)
        assert not np.asarray(batch["image"])[~item["mask"]].any()
        seen += batch["label"][item["mask"]].tolist()
        count += 1
    assert seen == list(range(SIZE))
    assert count == pipeline.num_batches == -(-SIZE // batch_size)


def test_evaluation_is_shared_by_processes():
    whole = list(evaluation(batch_size=8).items())
    parts = [list(evaluation(batch_size=8).items(rows)) for rows in shares(8, 2)]
    for item, *halves in zip(whole, *parts, strict=True):
        for name in item:
            joined = np.concatenate([half[name] for half in halves])
            np.testing.assert_array_equal(item[name], joined)


def test_evaluation_cuts_the_centre():
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[8:56, 24:72] = 255
    source = make_source([encode(Image.fromarray(pixels), "PNG")])
    (item,) = evaluation(source, 1, crop=central_crop(16, resize=64 / 48)).items()
    assert item["image"].min() == 255
    (item,) = evaluation(source, 1, crop=central_crop(16, resize=64 / 50)).items()
    assert item["image"][0, 0].max() < 255


# --- crops ----------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(375, 500), (1, 1), (3, 900), (900, 3)])
def test_crops_lie_within_the_image(height, width):
    generator, crop = np.random.default_rng(0), random_resized_crop(16)
    for _ in range(300):
        box = crop.choose(height, width, iter(generator.random(22).tolist()))
        assert 0 <= box.top and 0 <= box.left and box.height >= 1 and box.width >= 1
        assert box.top + box.height <= height and box.left + box.width <= width


def test_crops_follow_the_stated_distribution():
    """On a huge square no box of at most half its area is refused, or rounded much."""
    side, generator = 100_000, np.random.default_rng(0)
    draws = iter(generator.random(200_000).tolist())
    crop = random_resized_crop(16, scale=(0.1, 0.5), ratio=(0.5, 2))
    boxes = np.array([crop.choose(side, side, draws) for _ in range(20_000)])
    top, left, height, width = boxes.T
    uniform = [
        (height * width / side**2 - 0.1) / 0.4,
        np.log(width / height) / math.log(4) + 0.5,
        top / (side - height),
        left / (side - width),
    ]
    for values in uniform:  # Kolmogorov-Smirnov, at a level of 1e-4
        ranks = (np.arange(len(values)) + 0.5) / len(values)
        assert np.abs(np.sort(values) - ranks).max() < 2.23 / math.sqrt(len(values))
    assert np.abs(np.corrcoef(uniform) - np.eye(4)).max() < 0.03


def test_what_never_fits_is_cut_from_the_centre():
    never = itertools.repeat(0.999)
    crop = random_resized_crop(16, scale=(1.0, 1.0))
    assert crop.choose(30, 300, never) == Box(0, 130, 30, 40)
    assert crop.choose(300, 30, never) == Box(130, 0, 40, 30)


def test_scaled_crops_lie_in_the_image_or_around_it():
    crop = random_scaled_crop((20, 30), scale=(0.5, 2.0))
    last = itertools.repeat(1 - 1e-9)
    assert crop.choose(100, 40, itertools.repeat(0.0)) == Box(0, 0, 40, 60)
    assert crop.choose(100, 40, last) == Box(90, 25, 10, 15)
    assert crop.choose(15, 40, iter([0.0, 0.5, 0.5])) == Box(-13, -10, 40, 60)
    assert crop.choose(40, 60, iter([1 / 3, 0.9, 0.9])) == Box(18, 27, 20, 30)


def test_what_is_taken_in_evaluation():
    assert central_crop(224).choose(256, 512, iter(())) == Box(16, 144, 224, 224)
    high = central_crop((200, 100), resize=1)
    assert high.choose(100, 100, iter(())) == Box(0, 25, 100, 50)
    assert stretch(8).choose(30, 40, iter(())) == Box(0, 0, 30, 40)
    assert letterbox((50, 100)).choose(30, 80, iter(())) == Box(-5, 0, 40, 80)
    assert letterbox((50, 100)).choose(40, 20, iter(())) == Box(0, -30, 40, 80)
    cornered = letterbox((50, 100), corner=True)
    assert cornered.choose(40, 20, iter(())) == Box(0, 0, 40, 80)


# --- decoding -------------------------------------------------------------------------

JPEG_KINDS = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 2, "restart_marker_rows": 1},
    {"subsampling": 2, "progressive": True},
    {"subsampling": 2, "quality": 100},
]


@pytest.mark.parametrize("options", JPEG_KINDS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_is_left_out_changes_no_pixel(options, mode):
    encoded = encode(photo(0, 203, 250, mode), **options)
    for channels in (1, 3):
        whole = decode(encoded, channels)
        for bottom in [*range(90, 130), 203]:
            box = Box(top=40, left=17, height=bottom - 40, width=70)
            out = np.zeros((box.height, box.width, channels), np.uint8)
            jpeg.decode_box(encoded, lambda *size, box=box: box, out)
            np.testing.assert_array_equal(out, whole[40:bottom, 17:87])


def test_rows_below_are_left_out(monkeypatch):
    shapes = []
    original = jpeg.simplejpeg.decode_jpeg

    def spy(*arguments, **options):
        shapes.append(options["buffer"].shape)
        return original(*arguments, **options)

    monkeypatch.setattr(jpeg.simplejpeg, "decode_jpeg", spy)
    encoded, image = encode(photo(0, 800, 600)), photo(0, 800, 600)
    out = np.zeros((64, 64, 3), np.uint8)
    for box, rows in [
        (Box(0, 0, 100, 100), 112),
        (Box(10, 0, 128, 128), 144),
        (Box(0, 40, 256, 300), 272),
        (Box(0, 0, 800, 600), 800),
        (Box(0, 0, 127, 600), 144),
    ]:
        jpeg.decode_box(encoded, lambda *size, box=box: box, out)
        assert shapes.pop() == (rows, 600, 3)
        top, left, height, width = box
        region = image.crop((left, top, left + width, top + height))
        expected = np.asarray(region.resize((64, 64), Image.BILINEAR), int)
        assert np.abs(expected - out).mean() < 1, box
    assert not shapes


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(encode(photo(0), "PNG"), id="png"),
        pytest.param(encode(photo(0).convert("RGBA"), "PNG"), id="rgba"),
        pytest.param(encode(photo(0).convert("CMYK")), id="cmyk"),
        pytest.param(encode(photo(0).convert("L")), id="grey"),
        pytest.param(encode(photo(0), exif=bytes(6)), id="no exif"),
        pytest.param(encode(photo(0)) + b"more", id="trailing bytes"),
        pytest.param(encode(photo(0), exif=exif(1)), id="upright"),
        pytest.param(encode(photo(0), exif=exif(6)), id="turned"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_other_files_are_decoded_as_in_memory(encoded, channels):
    whole = decode(encoded, channels)
    height, width = whole.shape[:2]
    out = np.zeros_like(whole)

    def everything(*size):
        assert size == (height, width)
        return Box(0, 0, height, width)

    jpeg.decode_box(encoded, everything, out)
    np.testing.assert_array_equal(out, whole)


# --- trouble --------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("broken", [FILES[7][:500], b"", b"no image"])
def test_a_broken_image_is_named_by_its_index(workers, broken):
    source = make_source([*FILES[:7], broken, *FILES[8:]])
    with pytest.raises(UsageError, match="image 7 of photos:train cannot be decoded"):
        list(evaluation(source, workers=workers).items())
    items = train(source, workers=workers).items()
    with pytest.raises(UsageError, match="image 7 of photos:train cannot be decoded"):
        take(items, 12)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.9])
def test_a_truncated_file_is_noticed_wherever_the_crop_lies(progressive, part):
    encoded = encode(photo(0, 400, 300), progressive=progressive)
    truncated = encoded[: int(part * len(encoded))]
    out = np.zeros((50, 50, 3), np.uint8)
    for top in (0, 150, 350):
        with pytest.raises(DecodeError, match="truncated"):
            jpeg.decode_box(truncated, lambda *size, top=top: Box(top, 0, 50, 50), out)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_are_named_by_their_paths(tmp_path, workers):
    paths = tuple(f"{i:02}.jpg" for i in range(SIZE))
    for path, content in zip(paths, FILES, strict=True):
        (tmp_path / path).write_bytes(content)
    files = Annotated(paths, {"label": np.arange(SIZE, dtype=np.int32) % 2})
    (tmp_path / "test.jpg").write_bytes(FILES[0])
    test = Annotated(("test.jpg",), {"label": np.zeros(1, np.int32)})
    source = splits("folder:x", tmp_path, [files, test], [""], ("a", "b"), "…").train
    (tmp_path / "07.jpg").write_bytes(FILES[7][:500])
    (tmp_path / "19.jpg").unlink()
    with pytest.raises(UsageError, match=r"(?s)07\.jpg.*19\.jpg"):
        list(evaluation(source, workers=workers).items())


def test_a_mistake_of_a_transform_is_no_bad_image():
    def encoded(i):
        raise ZeroDivisionError

    source = make_source()._replace(encoded=encoded)
    with pytest.raises(ZeroDivisionError):
        next(train(source).items())


def test_an_abandoned_iterator_leaves_no_thread():
    def threads():
        return [t for t in threading.enumerate() if t.name.startswith("decoding")]

    def wait_for_no_more_than(count):
        deadline = time.monotonic() + 20
        while len(threads()) > count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(threads()) <= count

    gc.collect()
    wait_for_no_more_than(0)
    items, passing = train(workers=2).items(), evaluation(workers=2).items()
    next(items), next(passing)
    assert len(threads()) == 4
    del items, passing
    wait_for_no_more_than(0)


def test_the_batches_ahead_are_bounded():
    asked = []
    files = make_source()

    def encoded(i):
        asked.append(i)
        return FILES[i]

    items = train(files._replace(encoded=encoded), batch_size=2, prefetch=3).items()
    for count in range(1, 6):
        next(items)
        time.sleep(0.05)
        assert 2 * count <= len(asked) <= 2 * (count + 3)
    assert len(asked) == len(set(asked))


SCRIPT = """
import pathlib, sys
import numpy as np
from jaxvision import data

photo = pathlib.Path(sys.argv[1]).read_bytes()
source = data.Source(
    name="x",
    size=400,
    image_shape=(None, None, 3),
    class_names=("a",),
    read=None,
    targets=lambda: {"label": np.zeros(400, "i4")},
    encoded=lambda i: photo,
)
crop = data.random_resized_crop(64)
items = data.train(source, 100, crop=crop, transform=None, seed=0, workers=2).items()
next(items)
print("first batch")
"""


def test_the_process_ends_with_batches_under_way(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(encode(photo(0, 300, 400)))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, path],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "first batch\n", "")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: train(batch_size=24), "exceeds the 23"),
        (lambda: train(batch_size=0), "positive, got 0"),
        (lambda: train(seed=-1), "negative, got -1"),
        (lambda: random_resized_crop(0), "image size must be positive"),
        (lambda: letterbox((5, -1)), "image size must be positive"),
        (lambda: train(workers=-1), "threads, or 0 for none, got -1"),
        (lambda: random_resized_crop(16, scale=(0.5, 0.2)), "in order"),
        (lambda: random_resized_crop(16, scale=(0.0, 1.0)), "scale"),
        (lambda: random_resized_crop(16, ratio=(0.0, 1.0)), "ratio"),
        (lambda: random_scaled_crop(16, scale=(2.0, 1.0)), "factors in order"),
        (lambda: train(crop=None), "differ in size: give the pipeline a crop"),
        (lambda: train(storage="memory"), "takes images as they are"),
        (lambda: train(storage="grain"), "auto, memory or stream, got 'grain'"),
        (lambda: train(repeats=4), "must divide the batch size 6, got 4"),
        (lambda: train(repeats=0), "must divide the batch size 6, got 0"),
        (lambda: evaluation(batch_size=-1), "positive, got -1"),
        (lambda: central_crop(16, resize=0.5), "at least 1"),
        (lambda: evaluation(make_source([])), "is empty"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()
