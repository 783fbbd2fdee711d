"""What is under `runs/`, from directories as runs leave them."""

import json
import os
import subprocess
import sys

import pytest

from jaxvision.commands.main import main
from jaxvision.files import replace_object
from jaxvision.runs import listing, lock
from tests.runs.directories import CONFIG, RECORD, ROWS, finished, unfinished


@pytest.fixture
def runs(tmp_path):
    """A folder with runs in all states, some of them far below."""
    folder = tmp_path / "runs"
    finished(folder / "a" / "first", test_accuracy=0.95, validation_accuracy=0.9)
    finished(
        folder / "b",
        finished_at="2026-03-01T00:00:00+00:00",
        validation_accuracy=0.97,
        config_seed=7,
        seed=7,
        stopped="enough",
        planned_steps=30,
    )
    unfinished(folder / "sweeps" / "deep" / "c")
    (folder / "sweeps" / "sweep.json").write_text("{}")
    return folder


def rows(capsys, *arguments):
    main(["runs", *map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_each_run_has_state_metric_date_seed_and_time(runs, capsys):
    found = {row["path"].rpartition("/")[2]: row for row in rows(capsys, runs)}
    assert found.keys() == {"first", "b", "c"}
    first, b, c = (found[name] for name in ("first", "b", "c"))
    assert first["state"] == "finished" and first["seconds"] == 75
    assert first["monitor"]["name"] == "accuracy"
    assert first["metrics"]["test_accuracy"] == 0.95
    assert (b["state"], b["step"], b["steps"]) == ("stopped early", 20, 30)
    assert b["seed"] == 7 and b["date"] == "2026-03-01T00:00:00+00:00"
    assert (c["state"], c["step"], c["steps"]) == ("interrupted", 16, 24)
    # Of three validations the best, not the last; of the log, since there is no record.
    assert c["metrics"] == {"validation_accuracy": 0.875, "validation_loss": 0.5}
    assert c["seconds"] == 3.0


def test_the_table_says_it_in_words(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["runs", str(runs)])
    lines = capsys.readouterr().out.splitlines()
    (c,) = (line for line in lines if "deep/c" in line)
    assert "interrupted at step 16 of 24" in c and "87.50 %" in c
    (b,) = (line for line in lines if line.split()[0] == "b")
    assert "stopped early at step 20 of 30" in b and "97.00 %" in b and "1 min" in b


def test_they_are_sorted_by_date_or_metric_and_filtered(runs, capsys):
    other = {"experiment": "denoise", "monitor": "psnr"}
    measures = {"psnr": {"name": "psnr", "unit": "dB", "better": "higher"}}
    finished(runs / "d", **other, measures=measures, validation_psnr=30.0)

    def names(*options):
        return [row["path"].rpartition("/")[2] for row in rows(capsys, runs, *options)]

    assert names("--experiment", "mnist_*")[1:] == ["b", "first"]
    assert names("--sort", "metric") == ["b", "first", "c", "d"]
    assert names("--experiment", "denoise") == ["d"]
    with pytest.raises(SystemExit, match="2"):
        names("--experiment", "denoize")
    assert "did you mean 'denoise'?" in capsys.readouterr().err


def test_a_run_that_holds_its_lock_is_running(runs, capsys):
    with lock.held(runs / "sweeps" / "deep" / "c"):
        states = {row["state"] for row in rows(capsys, runs)}
    assert states == {"finished", "stopped early", "running"}
    assert "running" not in {row["state"] for row in rows(capsys, runs)}


def test_who_asks_for_the_lock_does_not_keep_a_run_from_it(tmp_path):
    (tmp_path / lock.FILE).touch()
    with lock.held(tmp_path):
        assert lock.is_held(tmp_path)
    assert not lock.is_held(tmp_path)
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("result.json", b"{", "result.json is damaged: it is no JSON"),
        ("result.json", b"[]", "holds no JSON object"),
        ("result.json", b"\xff", "no JSON"),
        ("result.json", json.dumps(RECORD | {"format": 1}).encode(), "has format 1"),
        ("result.json", json.dumps({"format": 2}).encode(), "lacks experiment"),
        ("result.json", json.dumps(RECORD | {"measures": 3}).encode(), "damaged"),
        ("result.json", json.dumps(RECORD | {"finished_at": 3}).encode(), "damaged"),
        ("result.json", json.dumps(RECORD | {"wall_seconds": "x"}).encode(), "damaged"),
        ("result.json", json.dumps(RECORD | {"steps": None}).encode(), "damaged"),
        ("config.json", b"", "config.json is damaged"),
        ("config.json", None, "config.json is missing"),
        ("config.json", json.dumps(CONFIG | {"measures": {"a": 1}}).encode(), "damag"),
        ("metrics.jsonl", b'{"step": "x", "epoch": []}\n\xff\n{', None),
        (
            "metrics.jsonl",
            b'{"step": 8, "epoch": 1, "validation/accuracy": "x"}',
            "dam",
        ),
    ],
)
def test_a_damaged_run_is_a_row_that_says_so(runs, capsys, name, content, words):
    folder = runs / "damaged"
    (unfinished if name != "result.json" else finished)(folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    main(["runs", str(runs)])
    assert "damaged" in capsys.readouterr().out
    row = {r["path"].rpartition("/")[2]: r for r in rows(capsys, runs)}["damaged"]
    assert len(rows(capsys, runs)) == 4
    if words is None:
        assert row["state"] == "interrupted"
    else:
        assert row["state"] == "unreadable" and words in row["reason"]


def test_a_folder_where_a_file_belongs_is_a_row_too(runs, capsys):
    (runs / "odd" / "result.json").mkdir(parents=True)
    row = next(r for r in rows(capsys, runs) if r["path"].endswith("odd"))
    assert row["state"] == "unreadable" and "cannot be read" in row["reason"]


def test_a_run_that_ended_before_it_wrote_anything(tmp_path, capsys):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / lock.FILE).touch()
    (row,) = rows(capsys, tmp_path)
    assert (row["state"], row["step"], row["metrics"]) == ("interrupted", 0, {})


def test_a_run_of_before_configs_said_what_is_measured(tmp_path, capsys):
    unfinished(tmp_path / "run")
    old = {k: v for k, v in CONFIG.items() if k.startswith(("config_", "ex", "format"))}
    replace_object(tmp_path / "run" / "config.json", old)
    (row,) = rows(capsys, tmp_path)
    assert (row["state"], row["steps"], row["monitor"]) == ("interrupted", None, None)
    assert row["metrics"]["validation_accuracy"] == ROWS[-1]["validation/accuracy"]
    main(["runs", str(tmp_path)])
    assert "interrupted at step 16" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_what_is_no_folder_is_refused_and_an_empty_one_is_empty(tmp_path, capsys, name):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["runs", str(tmp_path / name)])
    assert f"there is no folder {tmp_path / name}" in capsys.readouterr().err
    main(["runs", str(tmp_path)])
    assert capsys.readouterr().out == f"there are no runs in {tmp_path}\n"


def test_checkpoints_are_not_searched(tmp_path):
    finished(tmp_path / "run")
    finished(tmp_path / "run" / "checkpoints" / "8" / "inside")
    finished(tmp_path / "run" / "nested")
    found = {run.path.name for run in listing.find(tmp_path)}
    assert found == {"run", "nested"}


def test_a_list_needs_no_jax(runs):
    code = (
        "import sys; from jaxvision.commands.main import main\n"
        f"main(['runs', {str(runs)!r}])\n"
        "heavy = {'jax', 'flax', 'matplotlib', 'orbax'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
