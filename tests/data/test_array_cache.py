"""The cache of decoded arrays: hit, stale, damaged, unwritable, switched off."""

import os

import numpy as np
import pytest

from jaxvision.data import array_cache
from jaxvision.errors import UsageError


class Maker:
    """Makes the same arrays every time and counts how often."""

    def __init__(self):
        self.calls = 0
        self.arrays = {
            "image": np.arange(600, dtype=np.uint8).reshape(2, 10, 10, 3),
            "label": np.array([3, 1], np.int32),
        }

    def __call__(self):
        self.calls += 1
        return dict(self.arrays)


@pytest.fixture
def make():
    return Maker()


@pytest.fixture
def origins(tmp_path):
    paths = [tmp_path / "a.record", tmp_path / "b.record"]
    for path in paths:
        path.write_bytes(b"12345678")
    return paths


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.delenv(array_cache.SWITCH, raising=False)
    return tmp_path / "decoded.npz"


def assert_same(arrays, make):
    assert arrays.keys() == make.arrays.keys()
    for name, array in make.arrays.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_made_once_then_read(path, origins, make):
    for _ in range(3):
        assert_same(array_cache.cached(path, origins, make), make)
    assert make.calls == 1
    assert {file.name for file in path.parent.iterdir()} == {
        "a.record",
        "b.record",
        "decoded.npz",
    }


def touch(file):
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def longer(file):
    stat = file.stat()
    file.write_bytes(b"123456789")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, longer])
def test_stale_is_made_again(change, path, origins, make):
    array_cache.cached(path, origins, make)
    change(origins[1])
    make.arrays["label"] = np.array([7, 7], np.int32)
    for _ in range(2):
        assert_same(array_cache.cached(path, origins, make), make)
    assert make.calls == 2


def test_another_number_of_origins_is_stale(path, origins, make):
    array_cache.cached(path, origins, make)
    array_cache.cached(path, origins[:1], make)
    assert make.calls == 2


def test_another_version_is_stale(path, origins, make, monkeypatch):
    array_cache.cached(path, origins, make)
    monkeypatch.setattr(array_cache, "_VERSION", array_cache._VERSION + 1)
    array_cache.cached(path, origins, make)
    assert make.calls == 2


def test_no_flipped_byte_of_the_arrays_goes_unseen(path, origins, make):
    """Wherever it is: either it does not matter, or the cache is made again."""
    array_cache.cached(path, origins, make)
    whole = path.read_bytes()
    calls = make.calls
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        assert_same(array_cache.cached(path, origins, make), make)
    assert make.calls > calls + 600 // 7  # no byte of the pixels is without a check


@pytest.mark.parametrize("length", [0, 1, 100, 700, -1])
def test_cut_short_is_made_again(length, path, origins, make):
    array_cache.cached(path, origins, make)
    path.write_bytes(path.read_bytes()[:length])
    for _ in range(2):
        assert_same(array_cache.cached(path, origins, make), make)
    assert make.calls == 2


def test_pickles_are_not_loaded(path, origins, make):
    array_cache.cached(path, origins, make)
    stamp = array_cache._stamp(origins)
    np.savez(path, stamp=np.array(stamp), image=np.array([{}], object))
    assert_same(array_cache.cached(path, origins, make), make)


def test_a_folder_that_cannot_be_written_goes_without(path, origins, make):
    nowhere = path.parent / "a.record" / "decoded.npz"  # below a file
    for _ in range(2):
        assert_same(array_cache.cached(nowhere, origins, make), make)
    assert make.calls == 2


def test_a_full_disk_goes_without_and_leaves_nothing(path, origins, make, monkeypatch):
    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert_same(array_cache.cached(path, origins, make), make)
    assert {file.name for file in path.parent.iterdir()} == {"a.record", "b.record"}


def test_an_interrupted_write_leaves_what_was_there(path, origins, make, monkeypatch):
    array_cache.cached(path, origins, make)
    before = path.read_bytes()
    touch(origins[0])

    def interrupted(file, **arrays):
        file.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        array_cache.cached(path, origins, make)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.partial"))


def test_the_switch(path, origins, make, monkeypatch):
    monkeypatch.setenv(array_cache.SWITCH, "0")
    assert_same(array_cache.cached(path, origins, make), make)
    assert not path.exists()
    monkeypatch.delenv(array_cache.SWITCH)
    array_cache.cached(path, origins, make)
    make.calls = 0
    monkeypatch.setenv(array_cache.SWITCH, "0")
    array_cache.cached(path, origins, make)
    assert make.calls == 1


def test_an_error_in_making_is_the_callers(path, origins):
    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        array_cache.cached(path, origins, broken)
    assert not path.exists()


@pytest.mark.parametrize(
    ("value", "used"), [("no", 0), ("False", 0), ("yes", 1), ("", 1)]
)
def test_the_switch_is_read_by_what_it_means(tmp_path, monkeypatch, value, used):
    monkeypatch.setenv(array_cache.SWITCH, value)
    array_cache.cached(tmp_path / "a.npz", [], lambda: {"a": np.zeros(1)})
    assert (tmp_path / "a.npz").exists() == used
    monkeypatch.setenv(array_cache.SWITCH, "perhaps")
    with pytest.raises(UsageError, match="neither true nor false"):
        array_cache.cached(tmp_path / "a.npz", [], dict)
