"""Files that are written whole or not at all, and objects that are read strictly."""

import errno
import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from jaxvision import files


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "text"
    files.replace_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == ["text"]
    assert path.read_text() == "old"
    files.replace_text(path, "new")
    assert os.listdir(tmp_path) == ["text"]
    assert path.read_text() == "new"


def test_two_processes_do_not_write_into_one_file(tmp_path, monkeypatch):
    with files.replacing(tmp_path / "text") as one:
        one.write_text("one")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with files.replacing(tmp_path / "text") as two:
            two.write_text("two")
        assert one.read_text() == "one"
    assert (tmp_path / "text").read_text() == "one"


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.replace_text(tmp_path / "missing" / "text", "")


def test_an_object_comes_back_as_plain_values(tmp_path):
    path = tmp_path / "object.json"
    content = {"a": np.float32(0.5), "b": np.arange(3), "c": [math.nan, (1, "é")]}
    files.replace_object(path, content)
    expected = {"a": 0.5, "b": [0, 1, 2], "c": [None, [1, "é"]]}
    assert files.read_object(path, ["a"]) == expected == files.plain(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        (b"\xff{}", "is no JSON"),
        (b'{"a": ', "is no JSON"),
        (b"[" * 10**5, "is no JSON"),
        (b"9" * 5000, "is no JSON"),
        (b"[]", "holds no JSON object but a list"),
        (b"{}", "lacks a"),
        (b'{"a": 2, "crc32": 1}', "changed after it was written"),
    ],
)
def test_a_damaged_object_is_named(tmp_path, content, message):
    path = tmp_path / "object.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(files.Damaged, match=rf"object\.json .*{message}"):
        files.read_object(path, ["a"])
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(files.Damaged, match="cannot be read"):
        files.read_object(path)


def test_no_flipped_bit_of_an_object_goes_unnoticed(tmp_path):
    path, content = tmp_path / "object.json", {"accuracy": 0.9375, "name": "a b"}
    files.replace_object(path, content)
    written = path.read_bytes()
    for place in range(len(written)):
        for bit in range(8):
            damaged = bytearray(written)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = files.read_object(path)
            except files.Damaged:
                continue
            # The name of the checksum is not under it, nor is white space.
            assert found.items() >= content.items() or found == content


def test_which_errors_are_faults_of_the_disk(tmp_path):
    full = OSError(errno.ENOSPC, "full")
    try:
        raise RuntimeError from full
    except RuntimeError as error:
        assert files.disk_fault(error) is full
    assert files.disk_fault(ExceptionGroup("two", [ValueError(), full])) is full
    missing = FileNotFoundError(errno.ENOENT, "missing", str(tmp_path / "a"))
    assert files.disk_fault(missing) is None
    assert files.disk_fault(missing, tmp_path) is missing
    assert files.disk_fault(missing, tmp_path / "b") is None
    assert files.disk_fault(ValueError("full")) is None


def test_a_user_without_a_home_has_a_cache(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    cache = files.user_cache()
    assert cache.parent == tmp_path and cache == files.user_cache()
    assert cache.stat().st_mode & 0o777 == 0o700
    # Compiled programs are not taken from what another user may have written.
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "jaxvision-12345").mkdir()
    assert files.user_cache().name != "jaxvision-12345"


def test_a_cache_that_is_given_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(files.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.user_cache() == tmp_path / "jaxvision"
