"""Runs beside each other: what differs, which is best, and their curves."""

import json

import pytest

from jaxvision.commands.main import main
from jaxvision.errors import UsageError
from jaxvision.files import replace_object
from jaxvision.runs import comparison
from tests.runs.directories import CONFIG, MEASURES, finished, unfinished


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def three(folder):
    finished(folder / "a")
    finished(
        folder / "b",
        config_peak_lr=0.02,
        test_accuracy=0.85,
        test_loss=0.2,
        git_commit="4567def",
        continued_from=[{"epochs": 2, "steps": 16}],
    )
    unfinished(folder / "c", config_dropout=0.5)
    return [folder / name for name in "abc"]


def compare(capsys, *arguments):
    main(["compare", *map(str, arguments)])
    return capsys.readouterr().out


def test_what_differs_is_shown_and_nothing_else(three):
    found = comparison.compare(three)
    assert found.names == ["a", "b", "c"]
    assert found.asked == {
        "config_peak_lr": [0.01, 0.02, 0.01],
        "config_dropout": [None, None, 0.5],
        "continued_from": [None, [{"epochs": 2, "steps": 16}], None],
    }
    # What the unfinished run does not say is no difference.
    assert found.origin == {"git_commit": ["0123abc", "4567def", None]}


def test_the_best_of_each_row_is_marked(three, capsys):
    lines = [" ".join(line.split()) for line in compare(capsys, *three).splitlines()]
    for expected in (
        "state finished finished interrupted at step 16 of 24",
        "peak lr 0.01 0.02 0.01",
        "continued from – 2 epochs –",
        "test accuracy 90.00 % * 85.00 % –",
        "test loss 0.3000 0.2000 * –",
        # By its log at the best validation, not at the last one.
        "validation accuracy 91.00 % * 91.00 % * 87.50 %",
        "validation loss 0.2500 * 0.2500 * 0.5000",
        "wall time 1 min 15 s 1 min 15 s –",
        "git commit 0123abc 4567def –",
    ):
        assert expected in lines


def test_the_curves_are_drawn_in_one_picture(three, capsys, folder):
    assert "curves in compare.png" in compare(capsys, *three)
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    figure = comparison.figure(comparison.compare(three), "updates")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["validation accuracy", "train loss", "validation loss",
                      "learning rate"]  # fmt: skip
    for axis in figure.axes:
        assert [line.get_label() for line in axis.lines] == ["a", "b", "c"]
        assert list(axis.lines[0].get_xdata()) == [8, 16, 24]


def test_json_says_the_same(three, capsys, folder):
    found = json.loads(
        compare(capsys, *three, "--json", "--output", folder / "other.png")
    )
    assert [run["state"] for run in found["runs"]] == ["finished"] * 2 + ["interrupted"]
    accuracy = found["metrics"]["test_accuracy"]
    assert accuracy["values"] == [0.9, 0.85, None] and accuracy["best"] == ["a"]
    assert accuracy["measures"][0]["unit"] == "%"
    assert found["picture"] == str(folder / "other.png")
    assert (folder / "other.png").exists()


def test_runs_of_other_experiments_share_what_they_share(three, capsys, folder):
    measures = {"psnr": {"name": "psnr", "unit": "dB", "better": "higher"}}
    measures["loss"] = MEASURES["loss"] | {"unit": "nat"}
    finished(
        folder / "d", experiment="denoise", monitor="psnr", measures=measures,
        test_psnr=30.0, test_accuracy=None, validation_accuracy=None,
    )  # fmt: skip
    found = comparison.compare([folder / "a", folder / "d"])
    shared = {metric.name: metric for metric in found.metrics}
    assert shared.keys() == {"test_loss", "validation_loss"}
    # Equal names, but another unit: each in its own, and none is the best.
    assert shared["test_loss"].best() == []
    assert found.alone == {
        "a": ["test_accuracy", "validation_accuracy"],
        "d": ["test_psnr"],
    }
    said = compare(capsys, folder / "a", folder / "d")
    assert "only d has test psnr" in said and "0.3000 nat" in said
    (folder / "d" / "metrics.jsonl").write_text("")
    said = compare(capsys, folder / "a", folder / "d", "--output", "none.png")
    assert "no picture: the runs have no curve in common" in said
    assert "d has logged nothing" in said and not (folder / "none.png").exists()


def test_equal_runs_have_no_best(folder):
    paths = [finished(folder / name) for name in "ab"]
    found = comparison.compare(paths)
    assert not found.asked and not any(metric.best() for metric in found.metrics)


def test_names_are_as_long_as_it_takes(folder):
    paths = [finished(folder / name / "run") for name in "xy"]
    assert comparison.compare(paths).names == ["x/run", "y/run"]


def test_an_old_config_borrows_what_others_say_of_their_metrics(three, folder):
    old = {k: v for k, v in CONFIG.items() if k not in ("measures", "monitor")}
    replace_object(folder / "c" / "config.json", old)
    found = comparison.compare(three)
    metrics = {metric.name: metric for metric in found.metrics}
    assert metrics["validation_accuracy"].measures[2].unit == "%"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "at least two runs to compare, got 0"),
        (["a"], "at least two runs to compare, got 1"),
        (["a", "../{}/a"], "one of the runs is named twice"),
        (["a", "nowhere"], "nowhere: it does not exist"),
        (["a", "a/result.json"], "it is a file: name a run directory"),
        (["a", "."], ".: it is no run directory"),
        (["a", "broken"], "broken: result.json is damaged"),
    ],
)
def test_what_is_no_run_is_refused(three, folder, names, words):
    (folder / "broken").mkdir()
    (folder / "broken" / "result.json").write_text("{")
    paths = [folder / name.format(folder.name) for name in names]
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        comparison.compare(paths)


def test_all_that_cannot_be_read_is_named(folder):
    with pytest.raises(UsageError) as error:
        comparison.compare([folder / "x", folder / "y"])
    assert len(str(error.value).splitlines()) == 2
