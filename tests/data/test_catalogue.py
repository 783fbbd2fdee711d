"""What the catalogue says of folders, of what comes along, and of TFDS's sets."""

import json

import pytest

from jaxvision.data import catalogue, registry
from jaxvision.data.tfds import source as tfds_source


def write_set(folder, splits, **files):
    folder.mkdir(parents=True)
    described = [
        {"name": name, "shardLengths": list(map(str, lengths))}
        for name, lengths in splits.items()
    ]
    info = json.dumps({"splits": described})
    (folder / "dataset_info.json").write_text(info)
    for name, size in files.items():
        (folder / name).write_bytes(bytes(size))
    return len(info) + sum(files.values())


def test_prepared_sets_with_their_examples_and_sizes(tmp_path):
    rgb = write_set(tmp_path / "eurosat/rgb/2.0.0", {"train": [100, 27]}, a=10, b=5)
    digits = write_set(tmp_path / "mnist/3.0.1", {"train": [6], "test": [1]}, a=100)
    (tmp_path / "mnist" / "incomplete.XYZ_3.0.2").mkdir()
    (tmp_path / "downloads" / "extracted").mkdir(parents=True)
    (tmp_path / "stray.txt").touch()
    assert catalogue.prepared(tmp_path) == [
        (
            "eurosat/rgb:2.0.0",
            tmp_path / "eurosat/rgb/2.0.0",
            {"train": 127},
            rgb,
        ),
        ("mnist:3.0.1", tmp_path / "mnist/3.0.1", {"train": 6, "test": 1}, digits),
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"splits": [{}]}', "7"])
def test_a_description_that_cannot_be_read_is_no_reason_to_fail(content, tmp_path):
    write_set(tmp_path / "mnist" / "3.0.1", {"train": [1]})
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text(content)
    (found,) = catalogue.prepared(tmp_path)
    assert (found.name, found.splits) == ("mnist:3.0.1", {})


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert catalogue.prepared(tmp_path / "nowhere") == []


def test_built_in_sets_are_what_the_registry_loads():
    for name, splits in catalogue.built_in().items():
        loaded = registry.load(name)
        assert splits.train.size == loaded.train.size
        assert splits.train.image_shape == loaded.train.image_shape


def test_ones_own_data_by_form_and_example():
    forms, packaged = catalogue.own()
    assert {"folder:PATH", "coco:PATH", "tracks:PATH"} <= {*forms}
    assert all(form.endswith(":PATH") for form in forms)
    assert {"sounds:drums", "tracks:pendigits"} <= {*packaged}
    assert {registry.parse(name).kind for name in packaged} <= {
        form.removesuffix(":PATH") for form in forms
    }


def test_offered_sets_are_those_that_load_takes(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    offered = tfds_source.offered()
    assert offered["mnist"] == offered["fashion_mnist"] == (28, 28, 1)
    assert offered["cifar10"] == offered["cifar100"] == (32, 32, 3)
    assert "glue" not in offered and "coco" not in offered
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_the_folder_is_the_argument_or_the_environments(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert tfds_source.data_folder() == tmp_path
    assert tfds_source.data_folder("elsewhere").name == "elsewhere"
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(tfds_source.data_folder()) == "/home/somebody/tensorflow_datasets"
