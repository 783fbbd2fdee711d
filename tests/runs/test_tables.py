import json
from pathlib import Path

import pytest

from jaxvision import tasks
from jaxvision.errors import UsageError
from jaxvision.runs import tables
from jaxvision.runs.record import describe_measures

ROOT = Path(__file__).parents[2]


def record(seed=0, **changes):
    content = {
        "format": 2,
        "monitor": "accuracy",
        "measures": describe_measures(tasks.classification(2).measures),
        "experiment": "mnist_lenet5",
        "dataset": "mnist",
        "seed": seed,
        "parameters": 61706,
        "test_accuracy": 0.99,
        "test_loss": 0.03,
        "wall_seconds": 200.4,
        "hardware": "2 × Xeon",
        "command": f"python -m experiments.mnist_lenet5 --dataset mnist --seed {seed}",
        "reference_metric": "test_accuracy",
        "reference_value": 0.992,
        "reference_source": "LeCun et al. 1998",
        "config_epochs": 10,
        "config_seed": seed,
        "git_dirty": False,
        "smoke": False,
        "finished_at": "2025-01-01T00:00:00+00:00",
    } | changes
    return {key: value for key, value in content.items() if value is not ...}


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


def put(folder, *contents):
    for i, content in enumerate(contents):
        (folder / f"{i}.json").write_text(json.dumps(content))


def finished(tmp_path, content):
    run_dir = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    run_dir.mkdir()
    (run_dir / "result.json").write_text(json.dumps(content))
    return run_dir


def rows(text):
    """The cells of each row of a Markdown table, without its heading."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines[2:]]


# render


def test_seeds_share_a_row_with_mean_and_sample_deviation(records):
    values = {0: 0.9900, 1: 0.9910, 2: 0.9950}
    put(records, *[record(s, test_accuracy=v) for s, v in values.items()])
    (row,) = rows(tables.render(records))
    assert row[0] == "| mnist_lenet5"
    assert row[1:3] == ["mnist", "61,706"]
    # Mean 99.2 %; sample deviation sqrt((0.04 + 0.01 + 0.09) / 2) = 0.2646 %.
    assert row[3] == "test accuracy 99.20 ± 0.26 % (n = 3)"
    assert row[4] == "99.20 % (LeCun et al. 1998)"
    assert row[5] == "3 min 20 s on 2 × Xeon"
    assert row[6] == (
        "`for seed in 0 1 2; do python -m experiments.mnist_lenet5 --dataset mnist "
        "--seed $seed; done` |"
    )


def test_one_seed_shows_no_deviation_and_its_exact_command(records):
    put(records, record(7, reference_value=None))
    (row,) = rows(tables.render(records))
    assert row[3:5] == ["test accuracy 99.00 %", "—"]
    assert row[6] == f"`{record(7)['command']}` |"


def test_the_seed_is_added_to_a_command_that_left_it_out(records):
    command = "python -m experiments.x --note 'a | b'"
    put(records, record(0, command=command), record(1, command=command + " --seed=1"))
    loop = f"for seed in 0 1; do {command} --seed $seed; done"
    assert f"`{loop.replace('|', '\\|')}`" in tables.render(records)


def test_what_differs_in_more_than_the_seed_has_its_own_row(records):
    put(
        records,
        record(0),
        record(1, config_epochs=20),
        record(2, dataset="fashion_mnist"),
        record(3, experiment="a_first_one"),
    )
    table = rows(tables.render(records))
    assert [row[0] for row in table] == ["| a_first_one"] + ["| mnist_lenet5"] * 3
    assert [row[1] for row in table] == ["mnist", "fashion_mnist", "mnist", "mnist"]


def test_the_table_does_not_depend_on_file_names(records, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    contents = [record(s, test_accuracy=0.9 + s / 100) for s in range(3)]
    put(records, *contents)
    put(other, *reversed(contents))
    assert tables.render(records) == tables.render(other)


def test_times_are_kept_apart_by_hardware(records):
    put(
        records,
        record(0, wall_seconds=7384),
        record(1, wall_seconds=7216),
        record(2, wall_seconds=9.96, hardware="1 × H200"),
    )
    (row,) = rows(tables.render(records))
    assert row[5] == "10 s on 1 × H200<br>2 h 02 min on 2 × Xeon"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4.24, "4.2 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (86400, "24 h 00 min"),
    ],
)
def test_durations(records, seconds, words):
    put(records, record(wall_seconds=seconds))
    assert f"| {words} on" in tables.render(records)


def test_a_loss_is_not_a_percentage(records):
    put(records, record(reference_metric="test_loss", reference_value=0.025))
    (row,) = rows(tables.render(records))
    assert row[3] == "test loss 0.0300"
    assert row[4].startswith("0.0250 (")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wall_seconds": ...}, "0.json: 'wall_seconds' must be .*missing"),
        ({"seed": "0"}, "0.json: 'seed' must be int, got '0'"),
        ({"parameters": True}, "0.json: 'parameters' must be int, got True"),
        ({"test_accuracy": ...}, "0.json: 'test_accuracy'.*missing"),
        ({"test_accuracy": float("nan")}, "0.json: 'test_accuracy'.*finite.*nan"),
        ({"reference_source": ...}, "0.json: 'reference_value'.*'reference_source'"),
    ],
)
def test_a_malformed_record_is_named_with_its_key(records, changes, message):
    put(records, record(**changes))
    with pytest.raises(UsageError, match=message):
        tables.render(records)


def test_files_that_are_no_records_are_named(records):
    (records / "broken.json").write_text('{"experiment": ')
    with pytest.raises(UsageError, match=r"broken\.json is damaged: it is no JSON"):
        tables.render(records)
    (records / "broken.json").write_text("[]")
    with pytest.raises(
        UsageError, match=r"broken\.json is damaged: it holds no JSON object"
    ):
        tables.render(records)


def test_the_same_seed_twice_is_an_error(records):
    put(records, record(0), record(0, test_accuracy=0.98))
    with pytest.raises(UsageError, match=r"0\.json and .*1\.json .* same seed 0"):
        tables.render(records)


def test_a_missing_folder_is_not_an_empty_table(tmp_path, records):
    assert tables.render(records) == "No results are published yet."
    with pytest.raises(UsageError, match="no folder"):
        tables.render(tmp_path / "nowhere")


# publish


def test_publish_copies_the_record(tmp_path, records):
    path = tables.publish(finished(tmp_path, record(3, dataset="eurosat/rgb")), records)
    assert path.name == "mnist_lenet5-eurosat-rgb-seed3.json"
    published = json.loads(path.read_text())
    assert published.pop("tag") is None
    assert published == record(3, dataset="eurosat/rgb")


def test_publish_leaves_the_machine_out(tmp_path, records):
    content = record(
        command="/opt/env/bin/python3.12 -m experiments.x --workdir runs/a --lr 1e-3 "
        "--data-dir /mnt/sets --cache=/var/cache --workdir=/tmp/b --smooth",
        config_data_dir="/mnt/sets",
        config_workdir="runs/a",
        config_roots=["~/a", "b"],
        reference_source="https://doi.org/10.1109/5.726791 / Table 1",
    )
    published = json.loads(
        tables.publish(finished(tmp_path, content), records).read_text()
    )
    assert published["command"] == "python -m experiments.x --lr 1e-3 --smooth"
    assert published["reference_source"] == content["reference_source"]
    dropped = {"config_data_dir", "config_workdir", "config_roots"}
    assert set(content) - set(published) == dropped


def test_another_config_gets_a_name_of_its_own(tmp_path, records):
    def publish(tag=None, **changes):
        run_dir = finished(tmp_path, record(**changes))
        return tables.publish(run_dir, records, tag=tag).name

    first = publish(seed=0)
    wide = publish(seed=0, config_epochs=99)
    assert first == "mnist_lenet5-mnist-seed0.json"
    assert wide != first and wide.endswith("-seed0.json")
    # A config keeps its name under every seed, whichever was published first.
    assert publish(seed=1, config_epochs=99) == wide.replace("seed0", "seed1")
    assert publish(seed=1) == "mnist_lenet5-mnist-seed1.json"
    assert (
        publish("long", seed=0, config_epochs=50)
        == "mnist_lenet5-mnist-long-seed0.json"
    )
    assert publish(seed=1, config_epochs=50) == "mnist_lenet5-mnist-long-seed1.json"
    with pytest.raises(UsageError, match="another config"):
        publish("long", seed=0, config_epochs=51)
    assert [row[3] for row in rows(tables.render(records))] == [
        "test accuracy 99.00 ± 0.00 % (n = 2)"
    ] * 3


def test_publishing_again_replaces_the_record(tmp_path, records):
    tables.publish(finished(tmp_path, record(test_accuracy=0.9)), records)
    path = tables.publish(finished(tmp_path, record(test_accuracy=0.95)), records)
    assert list(records.iterdir()) == [path]
    assert json.loads(path.read_text())["test_accuracy"] == 0.95


def test_publish_warns_of_uncommitted_code(tmp_path, records):
    run_dir = finished(tmp_path, record(git_dirty=True, git_commit="abc123"))
    with pytest.warns(UserWarning, match="differs from commit abc123"):
        assert tables.publish(run_dir, records).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smoke": True}, "smoke run"),
        ({"smoke": ...}, "'smoke' must be bool.*missing"),
        ({"finished_at": ...}, "'finished_at' must be str.*missing"),
        ({"hardware": "/root/machine"}, "'hardware' must be str.*missing"),
    ],
)
def test_publish_refuses_what_is_no_result(tmp_path, records, changes, message):
    with pytest.raises(UsageError, match=message):
        tables.publish(finished(tmp_path, record(**changes)), records)
    assert not list(records.iterdir())


def test_publish_wants_a_finished_run_and_a_place(tmp_path, records):
    with pytest.raises(UsageError, match="holds no finished run"):
        tables.publish(tmp_path / "nowhere", records)
    with pytest.raises(UsageError, match="root of the repository"):
        tables.publish(finished(tmp_path, record()), tmp_path / "no" / "results")


# update and check


def test_update_writes_between_the_markers_only(tmp_path, records):
    page = tmp_path / "results.md"
    page.write_text("# Title\n\n<!-- results -->\nold\n<!-- /results -->\n\nThe end.\n")
    put(records, record())
    assert not tables.check(page, records)
    assert tables.update(page, records)
    assert tables.check(page, records)
    assert not tables.update(page, records)
    text = page.read_text()
    assert text.startswith("# Title\n\n<!-- results -->\n\n| Experiment |")
    assert text.endswith("\n\n<!-- /results -->\n\nThe end.\n")
    assert "old" not in text and tables.render(records) in text


def test_a_changed_number_or_an_extra_row_is_noticed(tmp_path, records):
    page = tmp_path / "results.md"
    page.write_text("<!-- results -->\n<!-- /results -->\n")
    put(records, record(0), record(0, experiment="another"))
    tables.update(page, records)
    text = page.read_text()
    page.write_text(text.replace("99.00", "99.10", 1))
    assert not tables.check(page, records)
    page.write_text(text)
    (records / "1.json").unlink()  # its row has no record any more
    assert not tables.check(page, records)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no marker", "<!-- results --> exactly once, got 0"),
        ("<!-- results -->", "<!-- /results --> exactly once, got 0"),
        ("<!-- results --><!-- results --><!-- /results -->", "once, got 2"),
        ("<!-- /results --><!-- results -->", "must come after"),
    ],
)
def test_markers_must_be_there(tmp_path, records, text, message):
    page = tmp_path / "results.md"
    page.write_text(text)
    with pytest.raises(UsageError, match=rf"results\.md.*{message}"):
        tables.update(page, records)
    assert page.read_text() == text


def test_the_page_of_this_repository_is_in_step_with_its_records():
    page = ROOT / "docs" / "results.md"
    assert tables.check(page, ROOT / tables.RECORDS), (
        "docs/results.md is out of step with experiments/results: run make tables"
    )


def test_a_continued_run_is_not_taken_for_one_of_as_many_epochs(tmp_path, records):
    continued = record(continued_from=[{"epochs": 5.0, "steps": 40}])
    tables.publish(finished(tmp_path, record()), records)
    path = tables.publish(finished(tmp_path, continued), records)
    assert path.name != "mnist_lenet5-mnist-seed0.json"
    one, two = rows(tables.render(records))
    assert {row[-1].count("after --epochs 5") for row in (one, two)} == {0, 1}
    with pytest.raises(UsageError, match="of another config"):
        tables.publish(
            finished(tmp_path, record()), records, tag=path.stem.split("-")[2]
        )
