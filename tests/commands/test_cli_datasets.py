"""`python -m jaxvision datasets [NAME]`."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxvision.commands import main as cli
from jaxvision.data import registry
from jaxvision.data.source import fingerprint
from jaxvision.data.tfds import source as tfds_source


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """A command in an empty folder: exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        code = 0
        try:
            cli.main(["datasets", *arguments])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def prepared(tmp_path):
    """What `doctor` and `datasets` go by, not a set that could be read."""
    folder = tmp_path / "sets" / "digits" / "1.2.3"
    folder.mkdir(parents=True)
    split = {"name": "train", "shardLengths": ["1000", "234"]}
    (folder / "dataset_info.json").write_text(json.dumps({"splits": [split]}))
    (folder / "digits-train").write_bytes(bytes(2_500_000))
    broken = tmp_path / "sets" / "torn" / "1.0.0"
    broken.mkdir(parents=True)
    (broken / "dataset_info.json").write_text("{")


def test_the_list(run, prepared, monkeypatch):
    monkeypatch.setattr(
        tfds_source, "offered", lambda: {"mnist": (28, 28, 1), "photos": (None, 64, 3)}
    )
    code, out, err = run()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert any(
        line.startswith("mnist_5k train 4,000, test 1,000 28×28×1 ") for line in lines
    )
    assert "digits:1.2.3 train 1,234 2.5 MB" in lines
    assert "torn:1.0.0 its dataset_info.json cannot be read 0.0 MB" in lines
    assert "mnist 28×28×1 photos any size×3" in lines
    assert "python -m jaxvision prepare NAME" in out
    for kind in registry.KINDS.values():
        assert not kind.own or kind.form in out
        assert all(example in out for example in kind.examples)


def test_the_list_where_nothing_is_prepared(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tfds_source, "offered", dict)
    code, out, _ = run("--data-dir", str(tmp_path / "empty"))
    assert code == 0
    assert f"Prepared in {tmp_path / 'empty'}:\n  none yet\n" in out


def test_the_card_of_a_set(run, tmp_path):
    code, out, err = run("synthetic:16x24x3:5")
    assert (code, err) == (0, "")
    assert "train 1,024, test 256" in out
    assert "16 × 24 × 3" in out

    folder = tmp_path / "runs" / "datasets" / "synthetic_16x24x3_5"
    assert {file.name for file in folder.iterdir()} == {"card.json", "card.png"}
    content = json.loads((folder / "card.json").read_text())
    source = registry.load("synthetic:16x24x3:5").train
    assert content["name"] == "synthetic:16x24x3:5"
    assert content["train_class_counts"] == [205, 205, 205, 205, 204]
    assert content["train_fingerprint"] == fingerprint(source)
    np.testing.assert_allclose(
        content["mean"], source.read()["image"].mean((0, 1, 2)) / 255
    )
    with Image.open(folder / "card.png") as picture:
        assert min(picture.size) > 500


def test_the_same_card_every_time(run, tmp_path):
    for folder in ("a", "b"):
        assert run("synthetic", "--output", folder)[0] == 0
    for name in ("card.json", "card.png"):
        first, second = (tmp_path / folder / name for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_each_split_is_read_once(run, monkeypatch):
    reads = []
    load = registry.load

    def counting(name, **options):
        return load(name).each(
            lambda split: split._replace(
                read=lambda: reads.append(split.name) or split.read()
            )
        )

    monkeypatch.setattr(registry, "load", counting)
    assert run("synthetic")[0] == 0
    assert reads == ["synthetic:train", "synthetic:test"]


def test_a_validation_split_is_on_the_card(run, tmp_path):
    arrays = {}
    for split, count in (("train", 9), ("val", 3), ("test", 6)):
        arrays[f"{split}_labels"] = np.arange(count) % 3
        arrays[f"{split}_images"] = np.full((count, 4, 4), count, np.uint8)
    np.savez(tmp_path / "set.npz", **arrays)
    code, out, err = run("npz:set.npz", "--output", "card")
    assert (code, err) == (0, "")
    assert "train 9, validation 3, test 6" in out
    assert "the arrays val_images and val_labels, as declared" in out
    content = json.loads((tmp_path / "card/card.json").read_text())
    assert content["validation_class_counts"] == [1, 1, 1]
    assert (tmp_path / "card/card.png").exists()


def test_a_folder_of_images_of_several_sizes(run, tmp_path):
    """The name of the set is a path: it must not say where the card goes."""
    random = np.random.RandomState(0)
    for i in range(12):
        file = tmp_path / "pets" / ("cat" if i % 3 else "[bold]") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.randint(256, size=(8 + i, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(file)
    code, out, err = run("folder:../" + tmp_path.name + "/pets")
    assert (code, err) == (0, "")
    assert "files of your own" in out
    assert "[bold]" in out
    assert "8–19 × 20 (median 13.5 × 20) × 3" in out
    (card,) = (tmp_path / "runs" / "datasets").glob("folder_*/card.json")
    assert json.loads(card.read_text())["class_names"] == ["[bold]", "cat"]


def test_an_unknown_set(run):
    code, out, err = run("minst_5k")
    assert (code, out) == (2, "")
    assert err.startswith("error: unknown dataset 'minst_5k': did you mean 'mnist_5k'")


def test_a_folder_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run("synthetic", "--output", "file/below")
    assert code == 2
    assert err.startswith("error: cannot write to file/below: ") and "--output" in err
