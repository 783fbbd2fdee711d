"""Files that are written whole or not at all."""

import os

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
