"""The report of planted faults, and the experiment that takes its list."""

import importlib.util
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import quality as planted_faults
from jaxvision import data
from jaxvision.commands import main as cli
from jaxvision.errors import UsageError
from jaxvision.quality import report

needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("cleanlab", "cleanvision")),
    reason="needs the extra quality: pip install -e '.[quality]'",
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Faults in `mnist_5k` as a set of arrays, and the report on it."""
    folder = tmp_path_factory.mktemp("planted")
    splits = data.load("mnist_5k")
    train, test = splits.train.read(), splits.test.read()
    faulty, rows = planted_faults.plant(train, test, 10, share=0.003, seed=1)
    np.savez(
        folder / "faulty.npz",
        image_train=faulty["image"],
        label_train=faulty["label"],
        image_test=test["image"],
        label_test=test["label"],
    )
    name = f"npz:{folder / 'faulty.npz'}"
    found = report.make(name, folder / "report", command=["quality"])
    return name, folder / "report", rows, found


@pytest.mark.slow
@needs_extra
def test_planted_faults_are_found(planted):
    _, _, rows, found = planted
    scores = planted_faults.score(found, rows, 4000)
    for fault in ("blank", "dark", "blurred", "duplicate"):
        assert scores[fault]["found"] == scores[fault]["planted"] == 12, fault
    for fault in ("near_noise", "near_contrast", "near_jpeg"):
        assert scores[fault]["found"] >= 11, fault
    for kind in ("blank", "dark", "duplicate"):
        assert scores[kind]["right"] == scores[kind]["findings"], kind
    # Shifts blur, and the set has look-alikes of its own.
    assert scores["blurred"]["findings"] <= 24
    near = scores["near_duplicate"]
    assert near["findings"] - near["right"] <= 12


@needs_extra
def test_the_folder_holds_all_of_it(planted):
    name, folder, _, found = planted
    kinds = {finding.kind for finding in found}
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "report.json", "exclusions.txt", *(f"{k}.png" for k in kinds),
    }  # fmt: skip
    content = json.loads((folder / "report.json").read_text())
    assert content["dataset"] == name and content["train_examples"] == 4000
    assert len(content["findings"]) == len(found)
    assert content["provenance"]["command"] == "python -m jaxvision quality"
    page = (folder / "report.html").read_text()
    for kind in kinds:
        assert f'alt="{kind}"' in page
        image = np.asarray(Image.open(folder / f"{kind}.png").convert("L"))
        assert image.shape[1] > 1000 and (image < 100).mean() > 0.01


@needs_extra
def test_the_list_leaves_out_what_is_certain_and_of_training(planted):
    name, folder, rows, _ = planted
    train, test, _ = data.load(name, exclude=folder / "exclusions.txt")
    whole = data.load(name)
    assert test.size == whole.test.size == 1000
    lines = (folder / "exclusions.txt").read_text().splitlines()
    left_out = {int(line.split()[1]) for line in lines if line.startswith("train ")}
    assert train.size == 4000 - len(left_out)
    assert left_out >= set(rows["blank"].tolist())
    # Of copies of test images the copy, of others either it or its original.
    for copy, original in rows["duplicate"]:
        assert copy in left_out if original >= 4000 else left_out & {copy, original}
    assert not left_out & set(rows["dark"].tolist())
    suggested = {int(line.split()[2]) for line in lines if line.startswith("# train ")}
    assert suggested >= set(rows["dark"].tolist())
    kept = np.setdiff1d(np.arange(4000), sorted(left_out))
    assert np.array_equal(train.read()["image"], whole.train.read()["image"][kept])


@needs_extra
def test_files_are_named_and_damaged_ones_found(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for name in "cat", "dog":
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    good = tmp_path / "set" / "train" / "cat" / "5.png"
    content = bytearray(good.read_bytes())
    content[60:80] = bytes(20)  # its head and end stay as they are
    good.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    cli.main(["quality", "--dataset", "folder:set", "--output", "out"])
    printed = capsys.readouterr().out
    assert "damaged  train 1, test 0" in " ".join(printed.split(" ")[1:]) or (
        "damaged" in printed and "train 1" in printed
    )
    lines = (tmp_path / "out" / "exclusions.txt").read_text().splitlines()
    assert "train 5 damaged: cannot be decoded; train/cat/5.png" in lines
    with pytest.raises(UsageError, match=r"cat/5\.png"):
        data.load("folder:set").train.read()


@needs_extra
def test_a_clean_set_gives_a_report_too(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 12, 12)).astype(np.uint8)
    label = np.arange(40) % 2
    np.savez(tmp_path / "a.npz", image=image, label=label)
    monkeypatch.chdir(tmp_path)
    cli.main(["quality", "--dataset", "npz:a.npz"])
    assert "nothing" in capsys.readouterr().out
    folder = tmp_path / "runs" / "quality" / "npz_a.npz"
    train, *_ = data.load("npz:a.npz", exclude=folder / "exclusions.txt")
    assert train.size == 32


@needs_extra
def test_sets_without_a_class_for_each_image(monkeypatch, tmp_path):
    """Masks, boxes and the like: their images are looked at all the same."""
    found = data.load("synthetic:12x12x1:3").each(
        lambda split: split._replace(read=lambda: {"image": split.read()["image"]})
    )
    monkeypatch.setattr(report.registry, "load", lambda name: found)
    report.make("shapes", tmp_path)
    assert (tmp_path / "report.html").exists()
    with pytest.raises(UsageError, match="no labels"):
        report.make("shapes", tmp_path, experiment="experiments.mnist_lenet5")


@needs_extra
def test_sets_in_memory_are_read_once(monkeypatch, tmp_path):
    reads = []

    def counted(split):
        def read():
            reads.append(split.name)
            return split.read()

        return split._replace(read=read)

    found = data.load("synthetic:12x12x1:3").each(counted)
    monkeypatch.setattr(report.registry, "load", lambda name: found)
    report.make("shapes", tmp_path)
    assert sorted(reads) == [found.test.name, found.train.name]


@needs_extra
def test_large_findings_are_shown_from_both_ends(tmp_path):
    """Of 200 blank images the picture has some, and the list all; those of the other
    splits are suggestions."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (500, 12, 12)).astype(np.uint8)
    image[:200] = np.arange(200)[:, None, None]
    label = np.arange(500) % 2
    others = {"x_test": image[199:220], "y_test": label[199:220]}
    others |= {"x_val": image[198:205], "y_val": label[198:205]}
    np.savez(tmp_path / "a.npz", x_train=image, y_train=label, **others)
    report.make(f"npz:{tmp_path / 'a.npz'}", tmp_path / "out")
    text = (tmp_path / "out" / "exclusions.txt").read_text()
    lines = [line for line in text.splitlines() if " blank: " in line]
    assert len(lines) == 203
    assert all(line.startswith("train ") for line in lines[:-3])
    assert lines[-3].startswith("# validation 0 blank: ")
    assert lines[-1].startswith("# test 0 blank: ")
    copies = re.findall("^train 20[0-9] duplicate: .*$", text, flags=re.MULTILINE)
    assert "in train and validation and test; as validation 2, test 1" in copies[0]
    left = data.load(
        f"npz:{tmp_path / 'a.npz'}", exclude=tmp_path / "out" / "exclusions.txt"
    )
    assert [source.size for source in left] == [500 - 220, 21, 7]
    with Image.open(tmp_path / "out" / "blank.png") as picture:
        assert 1000 < picture.height < 3000


def test_a_missing_extra_is_told_with_its_command(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "cleanlab" else find(name, *rest),
    )
    with pytest.raises(SystemExit) as end:
        cli.main(["quality", "--dataset", "mnist_5k"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "needs cleanlab: pip install 'jaxvision-research[quality]'" in error


@needs_extra
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels", "experiments.lenet"], "unknown experiment 'experiments.lenet'"),
        (["--labels", "benchmarks.engine"], "has no build"),
        (["--labels", "experiments.mnist_lenet5", "--folds", "1"], "folds must be 2"),
        (
            ["--labels", "experiments.mnist_lenet5", "--options=--dataset cifar10"],
            "is set for each fold: remove it",
        ),
        (["--output", "file/report"], "choose another --output"),
    ],
)
def test_mistakes_are_told(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end:
        cli.main(["quality", "--dataset", "synthetic:12x12x1", *arguments])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@needs_extra
def test_labels_by_folds_end_to_end(tmp_path, monkeypatch, capsys):
    """Two folds of LeNet-5 on digits of which some have a wrong label."""
    splits = data.load("mnist_5k")
    train, test = splits.train.read(), splits.test.read()
    rows = np.arange(0, 4000, 4)
    label = train["label"][rows].copy()
    wrong = np.arange(7, 1000, 50)
    label[wrong] = (label[wrong] + 3) % 10
    np.savez(
        tmp_path / "digits.npz",
        image_train=train["image"][rows],
        label_train=label,
        image_test=test["image"],
        label_test=test["label"],
    )
    monkeypatch.chdir(tmp_path)
    command = [
        *("quality", "--dataset", "npz:digits.npz", "--output", "out"),
        *("--labels", "experiments.mnist_lenet5", "--folds", "2"),
        "--options=--epochs 20 --batch-size 64 --peak-lr 5e-3 --devices 1",
    ]
    cli.main(command)
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {
        finding["examples"][0][1]
        for finding in content["findings"]
        if finding["kind"] == "label"
    }
    assert len(found & set(wrong.tolist())) >= 0.75 * len(wrong)
    assert len(found) <= 120
    runs = content["fold_runs"]
    assert [run["dataset"] for run in runs] == [
        "fold:1/2:npz:digits.npz",
        "fold:2/2:npz:digits.npz",
    ]
    assert [run["seed"] for run in runs] == [0, 0]
    assert {run["experiment"] for run in runs} == {"mnist_lenet5"}
    assert runs[0]["command"].startswith("python -m experiments.mnist_lenet5 --epochs")
    # Finished folds are not trained again, and the report is the same.
    capsys.readouterr()
    stamps = {path: os.stat(path).st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(stamps) == 2
    cli.main(command)
    assert "nothing left to do" in capsys.readouterr().out
    assert stamps == {path: os.stat(path).st_mtime_ns for path in stamps}
    again = json.loads((tmp_path / "out" / "report.json").read_text())
    assert again["findings"] == content["findings"]
    # Runs of one's own in these folders have no predictions.
    next(iter(stamps)).unlink()
    with pytest.raises(SystemExit):
        cli.main(command)
    assert "finished without probabilities.npy" in capsys.readouterr().err
