"""Scenes: what is said to be in an image is in it, whoever asks and wherever."""

import hashlib
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision import data
from jaxvision.data.made import scenes
from jaxvision.data.made.scenes import Layout, drawing
from jaxvision.data.source import fingerprint
from jaxvision.errors import UsageError
from jaxvision.ops import boxes as box_ops

INDICES = st.integers(0, 2**40)
LAYOUTS = st.builds(
    Layout,
    height=st.integers(32, 80),
    width=st.integers(32, 80),
    channels=st.sampled_from([1, 3]),
    objects=st.sampled_from([(1, 6), (0, 3), (8, 8), (1, 1)]),
    size=st.sampled_from([(0.3, 0.55), (0.7, 0.7)]),
    rotation=st.sampled_from([0.0, 30.0, 180.0]),
    max_hidden=st.sampled_from([0.0, 0.3, 1.0]),
    backgrounds=st.just(drawing.BACKGROUNDS),
)
SOME = settings(max_examples=40, deadline=None)


def outline(instance):
    rows, columns = np.nonzero(instance)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def check_one(known):
    """What holds for every scene, and for every frame of a sequence."""
    classes, instances = known["classes"], known["instances"].astype(bool)
    real = classes >= 0
    assert ((classes >= 1) & (classes <= 10))[real].all()

    # Boxes are tight, and rows without an object are empty.
    for m, is_one in enumerate(real):
        if is_one:
            assert known["boxes"][m].tolist() == outline(instances[m])
        else:
            assert classes[m] == -1 and not instances[m].any()
            assert not known["boxes"][m].any() and not known["keypoints"][m].any()

    # No pixel has two owners; segmentation is the class of its owner.
    assert instances.sum(0).max() <= 1
    wanted = (instances * np.maximum(classes, 0)[:, None, None]).sum(0)
    np.testing.assert_array_equal(known["segmentation"], wanted)

    wanted = np.zeros(11)
    wanted[classes[real]] = 1
    np.testing.assert_array_equal(known["presence"], wanted)
    assert not known["crowd"].any()

    # Keypoints lie in the image; who covers one decides whether it is seen.
    height, width = known["segmentation"].shape
    for m in np.flatnonzero(real):
        for x, y, visible in known["keypoints"][m]:
            assert 0 <= x <= width and 0 <= y <= height
            row, column = min(int(y), height - 1), min(int(x), width - 1)
            covered = instances[m + 1 :, row, column].any()
            assert visible == (1 if covered else 2)


@SOME
@given(INDICES, LAYOUTS, st.sampled_from(["train", "test"]))
def test_all_that_is_said_of_a_scene_agrees(index, layout, split):
    known = scenes.scene(index, layout, split=split)
    height, width, most = layout.height, layout.width, layout.objects[1]
    assert {name: (a.shape, a.dtype.name) for name, a in known.items()} == {
        "image": ((height, width, layout.channels), "uint8"),
        "presence": ((11,), "uint8"),
        "segmentation": ((height, width), "uint8"),
        "boxes": ((most, 4), "float32"),
        "classes": ((most,), "int32"),
        "crowd": ((most,), "uint8"),
        "instances": ((most, height, width), "uint8"),
        "keypoints": ((most, 4, 3), "float32"),
    }
    check_one(known)
    assert layout.objects[0] == 0 or (known["classes"] > 0).any()


@SOME
@given(INDICES)
def test_objects_can_be_told_from_the_background(index):
    """The pixels of an object differ from what is around it; hidden ones do not."""
    layout = Layout(objects=(1, 1), backgrounds=("plain",))
    known = scenes.scene(index, layout)
    image, mask = known["image"].astype(int), known["instances"][0] > 0
    paper = np.median(image[~mask], axis=0)
    difference = np.abs(image - paper).min(-1)
    assert difference[mask].min() >= 20
    far = np.ones_like(mask)
    x0, y0, x1, y1 = known["boxes"][0].astype(int)
    far[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3] = False
    # But for the stray marks that some of the real digits have.
    assert (difference[far] > 0).mean() < 0.02


@SOME
@given(INDICES, st.sampled_from([0.0, 0.2, 0.5]))
def test_no_object_is_hidden_by_more_than_allowed(index, max_hidden):
    """The visible part, against the same scene with what lies over it left out."""
    layout = Layout(objects=(1, 6), max_hidden=max_hidden)
    canvas = []
    paint = scenes.composition.Canvas.paint

    def spy(self, *arguments):
        done = paint(self, *arguments)
        canvas.append(self)
        return done

    scenes.composition.Canvas.paint = spy
    try:
        known = scenes.scene(index, layout)
    finally:
        scenes.composition.Canvas.paint = paint
    for m, area in enumerate(canvas[-1].areas):
        assert known["instances"][m].sum() >= (1 - max_hidden) * area


def test_keypoints_are_the_ends_of_the_stroke():
    """Where nothing is turned, the box ends where they are, but for stray marks."""
    layout = Layout(height=96, width=96, objects=(1, 1), rotation=0, size=(0.6, 0.7))
    beyond = []
    for index in range(300):
        known = scenes.scene(index, layout)
        rows, columns = np.nonzero(known["instances"][0])
        points = known["keypoints"][0, :, :2]
        for x, y in points:
            assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).min() <= 3
        (_, top), (right, _), (_, bottom), (left, _) = points
        x0, y0, x1, y1 = known["boxes"][0]
        beyond.append([top - y0, y1 - bottom, left - x0, x1 - right])
    pixel = 0.65 * 96 / 28  # of the digit as it was written
    assert -0.9 * pixel < np.min(beyond)
    assert np.percentile(beyond, 98) < 1.2 * pixel


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_keypoints_turn_with_the_digit(degrees):
    known = drawing.digits("train")
    upright = drawing.stamp(known, 77, 28, 0, 0.25, 0.5)
    turned = drawing.stamp(known, 77, 28, degrees, 0.25, 0.5)
    quarters = degrees // 90  # clockwise
    centre = len(upright.mask) / 2 + np.array([0.25, 0.5])
    x, y = (upright.keypoints - centre).T
    for _ in range(quarters):
        x, y = -y, x
    np.testing.assert_allclose(
        turned.keypoints - centre, np.stack([x, y], 1), atol=1e-9
    )
    ink = turned.opacity[tuple(turned.keypoints.astype(int).T[::-1])]
    assert (ink > 60).all()


@pytest.mark.parametrize("degrees", [0, 37, 90, 180, 300])
@pytest.mark.parametrize("side", [14, 21, 28, 50])
def test_a_stamp_is_what_opencv_makes_of_the_digit(side, degrees):
    cv2 = pytest.importorskip("cv2")
    known, number, x, y = drawing.digits("train"), 1234, 0.3, 0.8
    stamp = drawing.stamp(known, number, side, degrees, x, y)
    size, level = len(stamp.mask), 0 if side > 17 else 1
    table = known.pyramid[level][number][2:-2, 2:-2].astype(np.float32)
    angle, scale = np.radians(degrees), side / len(table)
    turn = scale * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    # Between indices of pixels, which count from the centre of the first.
    middle = np.full(2, len(table) / 2 - 0.5)
    shift = np.array([size / 2 + x, size / 2 + y]) - 0.5 - turn @ middle
    wanted = cv2.warpAffine(table, np.c_[turn, shift], (size, size))
    assert np.abs(stamp.opacity - wanted).max() <= 3  # of 255: 1/256 of a pixel


@settings(max_examples=15, deadline=None)
@given(INDICES, LAYOUTS)
def test_sequences_keep_identities(index, layout):
    known = scenes.sequence(index, layout, frames=6, speed=0.2)
    for t in range(6):
        check_one({name: array[t] for name, array in known.items()})
    seen = known["classes"] >= 0
    rows = np.arange(layout.objects[1])
    np.testing.assert_array_equal(known["identities"], np.where(seen, rows, -1))
    for m in rows:  # one object, one class
        assert len(set(known["classes"][seen[:, m], m])) <= 1


def test_objects_move_as_fast_as_said_bounce_and_reappear():
    layout = Layout(objects=(16, 16), size=(0.15, 0.7))
    hidden = back = 0
    moved = []
    for index in range(12):
        known = scenes.sequence(index, layout, frames=24, speed=0.1, spin=0)
        seen = known["identities"] >= 0
        hidden += (~seen).sum()
        back += (~seen[:-1] & seen[1:]).sum()
        both = seen[1:] & seen[:-1]
        points = known["keypoints"][..., :2].mean(2)
        moved.append(np.hypot(*np.moveaxis(np.diff(points, axis=0), -1, 0))[both])
    moved = np.concatenate(moved)
    assert hidden > 0 and back > 0
    assert moved.max() <= 0.1 * 64 + 1e-3
    assert np.median(moved) > 0.05 * 64 - 1e-3


def resample(moving, transform):
    """`moving` as the fixed image sees it, bilinear, in plain floating point."""
    height, width = moving.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    a, b, depth = np.tensordot(transform, np.stack([x, y, np.ones_like(x)]), 1)
    u = np.clip(a / depth - 0.5, 0, width - 1.001)
    v = np.clip(b / depth - 0.5, 0, height - 1.001)
    i, j = v.astype(int), u.astype(int)
    fv, fu = (v - i)[..., None], (u - j)[..., None]
    rows = [moving[i + k, j] * (1 - fu) + moving[i + k, j + 1] * fu for k in (0, 1)]
    return rows[0] * (1 - fv) + rows[1] * fv


@settings(max_examples=20, deadline=None)
@given(
    INDICES, st.sampled_from(["affine", "homography"]), st.sampled_from([32, 64, 97])
)
def test_the_transform_of_a_pair_takes_one_view_to_the_other(index, kind, width):
    layout = Layout(64, width, backgrounds=("plain", "gradient"))
    known = scenes.pair(index, layout, kind=kind)
    fixed, moving = known["fixed"].astype(float), known["moving"].astype(float)
    # Two pixels in from where the views end, since bilinear taps lie beyond.
    inner = known["valid"].astype(bool)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            inner &= np.roll(known["valid"], step, axis) > 0
    inner[[0, 1, -1, -2]] = inner[:, [0, 1, -1, -2]] = False
    aligned = np.abs(resample(moving, known["transform"]) - fixed)[inner].mean()
    shifted = known["transform"] + np.array([[0, 0, 2], [0, 0, 2], [0, 0, 0]])
    off = np.abs(resample(moving, shifted) - fixed)[inner].mean()
    blur = np.abs(np.diff(fixed, axis=0)).mean() + np.abs(np.diff(fixed, axis=1)).mean()
    assert aligned <= 0.5 * blur + 0.5
    assert aligned <= off + 0.2
    if kind == "affine":
        np.testing.assert_allclose(known["transform"][2], [0, 0, 1], atol=1e-7)


def test_views_turn_about_the_middle_and_stay_near():
    for index in range(40):
        known = scenes.pair(index, Layout(64, 96), kind="affine")
        x, y, _ = known["transform"] @ [48, 32, 1]
        assert abs(x - 48) <= 9.6 + 1e-3 and abs(y - 32) <= 6.4 + 1e-3
        turn = known["transform"][:2, :2]
        assert 1 / 1.15**2 - 1e-5 <= np.linalg.det(turn) <= 1.15**2 + 1e-5
        assert known["valid"].mean() > 0.5


def test_a_pair_of_no_strength_is_one_view_twice():
    known = scenes.pair(5, strength=0)
    np.testing.assert_allclose(known["transform"], np.eye(3), atol=1e-7)
    np.testing.assert_array_equal(known["fixed"], known["moving"])
    np.testing.assert_array_equal(
        known["fixed_segmentation"], known["moving_segmentation"]
    )
    assert known["valid"].all()


def test_labels_of_a_pair_agree_where_the_transform_takes_them():
    agree, total = 0, 0
    for index in range(20):
        known = scenes.pair(index)
        rows, columns = np.nonzero((known["fixed_segmentation"] > 0) & known["valid"])
        points = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
        x, y, depth = known["transform"] @ points
        there = known["moving_segmentation"][
            (y / depth).astype(int), (x / depth).astype(int)
        ]
        agree += (there == known["fixed_segmentation"][rows, columns]).sum()
        total += len(rows)
    assert agree > 0.8 * total > 800  # strokes are three pixels wide


@pytest.mark.parametrize("sigma", [0, 10, 25])
def test_noise_has_the_deviation_asked_for_and_no_drift(sigma):
    grey = np.full((128, 128, 3), 128, np.uint8)
    noise = drawing.add_noise(grey, sigma, 7).astype(float) - 128
    assert abs(noise.std() - sigma) <= 0.02 * sigma
    assert abs(noise.mean()) < 0.02 * sigma + 0.01
    # As a normal distribution has it, 68 and 95 of 100 within one and two sigma.
    if sigma:
        within = [(np.abs(noise) <= k * sigma).mean() for k in (1, 2)]
        np.testing.assert_allclose(within, [0.68, 0.955], atol=0.03)


def test_a_noisy_scene_knows_what_it_was():
    known = scenes.noisy(4, sigma=20)
    np.testing.assert_array_equal(known["clean"], scenes.scene(4)["image"])
    assert 5 < np.abs(known["image"].astype(int) - known["clean"]).mean() < 20
    other = scenes.noisy(5, sigma=20)
    noise, another = (k["image"].astype(int) - k["clean"] for k in (known, other))
    assert (noise != another).mean() > 0.9


def digest(index):
    sha = hashlib.sha256()
    layout = Layout(48, 56)
    for known in (
        scenes.scene(index, layout),
        scenes.noisy(index, layout),
        scenes.sequence(index, layout, frames=3),
        scenes.pair(index, layout),
    ):
        for name, array in sorted(known.items()):
            sha.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def test_same_index_same_bits_in_any_order_and_any_process():
    indices = [3, 10**9, 0]
    here = [digest(i) for i in indices]
    assert [digest(i) for i in reversed(indices)] == here[::-1]
    code = f"import sys; sys.path.insert(0, {str(__file__.rsplit('/', 1)[0])!r}); "
    code += f"import test_scenes as t; print(*(t.digest(i) for i in {indices}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == here
    assert len(set(here)) == 3


def test_seed_split_and_index_each_change_the_scene():
    layout = Layout(backgrounds=("plain",))
    images = [
        scenes.scene(i, layout, split=split, seed=seed)["image"]
        for i in (0, 1)
        for split in ("train", "test")
        for seed in (0, 1)
    ]
    # And not its digits alone: the colour of the paper is drawn anew as well.
    assert len({tuple(np.median(image, (0, 1))) for image in images}) == 8


def test_digits_that_lie_apart_hide_nothing_of_each_other():
    heaped, apart = (
        data.load(f"scenes:64x64x3:60:1{how}").train.read() for how in ("", ":apart")
    )

    def alone(scene):
        """Shares of the boxes that overlap no other."""
        there = scene["classes"] >= 0
        overlaps = jax.vmap(box_ops.pairwise(box_ops.iou))(
            scene["boxes"], scene["boxes"]
        )
        others = np.asarray(overlaps) * ~np.eye(there.shape[1], dtype=bool)
        return (others.max(2)[there] < 0.1).mean()

    assert apart["image"].shape == heaped["image"].shape == (60, 64, 64, 3)
    assert alone(apart) > 0.9 > 0.7 > alone(heaped)
    assert apart["boxes"].shape == (60, 4, 4)


def test_train_and_test_have_no_digit_in_common():
    train, test = (
        {d.tobytes() for d in drawing.digits(s).pyramid[0]} for s in ("train", "test")
    )
    assert not train & test
    assert len(train) + len(test) == 5_000


@pytest.mark.parametrize(
    ("kind", "deviation", "steps"),
    [
        ("plain", (0, 0), (0, 0)),
        ("gradient", (1, 20), (1, 2)),
        ("noise", (16, 21), (50, 63)),
        ("texture", (4, 20), (2, 12)),
    ],
)
def test_backgrounds_vary_as_their_names_say(kind, deviation, steps):
    """Standard deviation of a channel, and the largest step between neighbours."""
    for seed in range(5):
        draws = drawing.Draws(seed, words=8)
        grey = np.full(3, 128, np.int32)
        image = drawing.background(kind, draws, grey, (64, 96, 3), seed)
        assert image.shape == (64, 96, 3) and image.dtype == np.int32
        assert 96 <= image.min() and image.max() <= 160
        spread = image.std((0, 1)).max()
        largest = max(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1))
        assert deviation[0] <= spread <= deviation[1]
        assert steps[0] <= largest <= steps[1]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("make", [scenes.scene, scenes.sequence, scenes.pair])
def test_scenes_are_made_of_the_digits_of_their_split(make, split, monkeypatch):
    asked = []
    digits = drawing.digits
    monkeypatch.setattr(drawing, "digits", lambda s: (asked.append(s), digits(s))[1])
    make(0, split=split)
    assert set(asked) == {split}


def test_all_digits_and_backgrounds_occur():
    presence = sum(scenes.scene(i)["presence"].astype(int) for i in range(200))
    assert (presence[1:] > 30).all() and presence[0] == 0
    drawn = []
    paint = drawing.background

    def spy(kind, *arguments):
        drawn.append(kind)
        return paint(kind, *arguments)

    drawing.background = spy
    try:
        for i in range(100):
            scenes.scene(i)
    finally:
        drawing.background = paint
    assert {kind: drawn.count(kind) > 10 for kind in drawing.BACKGROUNDS} == (
        dict.fromkeys(drawing.BACKGROUNDS, True)
    )


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        ("scenes", (64, 64, 3), (4096, 1024)),
        ("scenes:32x48", (32, 48, 3), (4096, 1024)),
        ("scenes:32x48x1", (32, 48, 1), (4096, 1024)),
        ("scenes:32x32x1:40", (32, 32, 1), (40, 10)),
        ("scenes:7:5", (64, 64, 3), (7, 5)),
        ("scenes:1", (64, 64, 3), (1, 1)),
    ],
)
def test_names(name, shape, sizes):
    splits = data.load(name)
    assert tuple(s.size for s in splits.there().values()) == sizes
    assert {s.image_shape for s in splits.there().values()} == {shape}
    assert [s.name for s in splits[:2]] == [f"{name}:train", f"{name}:test"]
    assert splits.train.class_names[0] == "background"
    assert len(splits.train.class_names) == 11


def test_a_source_is_its_scenes_however_it_is_read():
    from jaxvision.data.files.decoding import decode

    for split, source in data.load("scenes:32x40:6:4").there().items():
        arrays = source.read()
        targets, source = source.targets(), pickle.loads(pickle.dumps(source))
        assert targets.keys() == arrays.keys() - {"image", "segmentation", "instances"}
        for i in range(source.size):
            known = scenes.scene(i, Layout(32, 40), split=split)
            assert known.keys() == arrays.keys()
            for name, array in known.items():
                np.testing.assert_array_equal(arrays[name][i], array)
            for name, array in targets.items():
                np.testing.assert_array_equal(array[i], known[name])
            for name, array in source.maps(i).items():
                np.testing.assert_array_equal(array, known[name])
            np.testing.assert_array_equal(
                decode(source.encoded(i), channels=3), known["image"]
            )


def test_both_storages_make_the_same_batches():
    batches = []
    for storage in ("memory", "stream"):
        pipeline = data.train(
            data.load("scenes:32x40:24").train,
            4,
            transform=lambda key, batch: batch,
            seed=0,
            storage=storage,
        )
        item = next(pipeline.items())
        batches.append(pipeline.fetch(pipeline.resident(), item, None))
    memory, stream = batches
    assert memory.keys() == stream.keys()
    for name, array in memory.items():
        np.testing.assert_array_equal(array, stream[name])


def test_scenes_are_frozen():
    """Published numbers depend on them: a change here must be meant."""
    assert fingerprint(data.load("scenes:40x40:12").train) == "59b961c5670dc6ac"
    assert digest(7)[:16] == "461e0e64cfa97186"


BAD_NAMES = ["scenes:", "scenes:64x", "scenes:64x64x3:", "scenes:-64x64",
             "scenes:64x64:0.5", "scenes:64x64x3:10:10:10"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_malformed_name_is_refused_with_an_example(name):
    with pytest.raises(UsageError, match="such as scenes:64x64x3:8000:1000"):
        data.load(name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("scenes:8x64"), "24 pixels or more a side.* got 8×64"),
        (lambda: data.load("scenes:64x5000"), "4,096 at most, got 64×5000"),
        (lambda: data.load("scenes:64x64:99999999"), "at most 10,000,000 scenes"),
        (lambda: data.load(f"scenes:64x{'9' * 5_000}"), "such as scenes:64x64x3"),
        (lambda: data.load("scenes:64x64x4"), "1 or 3 channels, got 4"),
        (lambda: data.load("scenes:64x64:0"), "must have one scene or more"),
        (lambda: scenes.scene(-1), "index must not be negative, got -1"),
        (lambda: scenes.scene(0, seed=-1), "seed must not be negative, got -1"),
        (lambda: scenes.scene(0, split="tset"), "did you mean 'test'"),
        (lambda: scenes.scene(0, Layout(objects=(3, 1))), r"got \(3, 1\)"),
        (lambda: scenes.scene(0, Layout(objects=(0, 99))), r"up to 30"),
        (lambda: scenes.scene(0, Layout(size=(0.3, 0.9))), r"0.05 to 0.7"),
        (lambda: scenes.scene(0, Layout(rotation=-1)), "rotation must not"),
        (lambda: scenes.scene(0, Layout(max_hidden=2)), "max_hidden must be"),
        (lambda: scenes.scene(0, Layout(backgrounds=())), "no backgrounds"),
        (lambda: scenes.scene(0, Layout(backgrounds=("plian",))), "'plain'"),
        (lambda: scenes.noisy(0, sigma=-1), "sigma must be"),
        (lambda: scenes.sequence(0, frames=0), "frames must be positive, got 0"),
        (lambda: scenes.sequence(0, speed=2), "speed must be"),
        (lambda: scenes.pair(0, kind="rigid"), "'rigid'"),
        (lambda: scenes.pair(0, strength=2), "strength must be"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
