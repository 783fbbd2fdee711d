"""Several processes are one run: the same numbers, one record, and an orderly end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from jaxvision.engine import processes

ROOT = Path(__file__).parent.parent
TIMINGS = {
    "seconds", "images_per_second", "data_wait", "dispatch", "device", "memory_gb"
}  # fmt: skip


def start(*arguments, processes=1, devices=1, **environment):
    """`python -m tests.tiny` in some processes with some devices each."""
    command = [sys.executable, "-m", "jaxvision", "launch", "--processes", processes,
               "--devices", devices, "-m", "tests.tiny", *arguments]  # fmt: skip
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process):
    """Exit code and output."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def rows(workdir):
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [
        {name: value for name, value in json.loads(line).items() if name not in TIMINGS}
        for line in lines
    ]


def wait_for_checkpoint(workdir, process, count):
    """Block until so many checkpoints have been finished."""
    deadline = time.monotonic() + 200
    while not [p for p in (workdir / "checkpoints").glob("[0-9]*")
               if p.name.isdigit() and int(p.name) >= count]:  # fmt: skip
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """One process with one device, undisturbed."""
    workdir = tmp_path_factory.mktemp("quiet") / "run"
    code, output = finish(start("--workdir", workdir))
    assert code == 0, output
    return workdir


def assert_agree(workdir, quiet):
    """All rows up to float32 reordering, see test_topology."""
    assert len(rows(workdir)) == len(rows(quiet))
    for row, expected in zip(rows(workdir), rows(quiet), strict=True):
        assert row.keys() == expected.keys()
        for name in ("train/loss", "validation/loss"):
            assert row[name] == pytest.approx(expected[name], rel=1e-3), name


@pytest.mark.slow
def test_two_processes_agree_with_one_and_write_once(tmp_path, quiet):
    workdir = tmp_path / "run"
    code, output = finish(
        start("--workdir", workdir, "--mesh", "data=2,fsdp=2", processes=2, devices=2)
    )
    assert code == 0, output
    assert_agree(workdir, quiet)
    assert output.count("results and pictures are in") == 1
    assert len(list((workdir / "tensorboard").glob("events.*"))) == 1
    result = json.loads((workdir / "result.json").read_text())
    alone = json.loads((quiet / "result.json").read_text())
    assert (result["process_count"], result["device_count"]) == (2, 4)
    assert result["mesh"] == "data=2,fsdp=2"
    # Every test image counts once, wherever it was evaluated.
    assert result["test_accuracy"] == pytest.approx(alone["test_accuracy"], abs=1 / 256)


@pytest.mark.slow
def test_leaving_dying_and_moving_to_another_topology(tmp_path, quiet):
    """SIGTERM in 2 processes, a damaged shard, kill -9 of one of 2, the rest in one."""
    workdir = tmp_path / "run"
    common = ("--workdir", workdir, "--host-timeout", "5")
    slow = ("--pause", "0.2", "--save-every-steps", "2")

    # The pause is part of the config, and so of all three.
    process = start(*common, *slow, "--mesh", "data=2,fsdp=2", processes=2, devices=2)
    wait_for_checkpoint(workdir, process, 2)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 75, output
    assert "stopped and saved after step" in output
    before, saved = sorted(
        int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")
    )[-2:]

    # One of the two wrote this file, and one of the next two will find it damaged.
    victim = workdir / "checkpoints" / str(saved) / "state" / "shards-1.npz"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0x10
    victim.write_bytes(content)

    process = start(*common, *slow, "--mesh", "fsdp=2", processes=2)
    wait_for_checkpoint(workdir, process, saved + 2)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    os.kill(int(children[1]), signal.SIGKILL)
    code, output = finish(process)
    assert code == 5, output
    assert f"checkpoint {saved} is damaged" in output
    assert f"continuing after step {before}" in output
    assert "process 1 of 2 is gone; the last good checkpoint is step" in output

    code, output = finish(start(*common, *slow))
    assert code == 0, output
    assert "continuing after step" in output
    assert_agree(workdir, quiet)


@pytest.mark.slow
def test_a_finished_run_is_given_more_epochs_by_several_processes(tmp_path):
    """As by one process: the same numbers, and one record that tells of both."""
    workdir, alone = tmp_path / "run", tmp_path / "alone"
    two = dict(processes=2, devices=2)
    code, output = finish(start("--workdir", workdir, "--epochs", "2", **two))
    assert code == 0, output
    shutil.copytree(workdir, alone)
    code, output = finish(start("--workdir", workdir, "--epochs", "3", **two))
    assert code == 0, output
    assert output.count("this run was finished after 2 epochs") == 1
    code, output = finish(start("--workdir", alone, "--epochs", "3"))
    assert code == 0, output
    assert_agree(workdir, alone)
    ours, theirs = (
        json.loads((folder / "result.json").read_text()) for folder in (workdir, alone)
    )
    assert [row["step"] for row in rows(workdir)] == [8, 16, 24]
    assert ours["process_count"] == 2 and theirs["process_count"] == 1
    (before,) = ours["continued_from"]
    assert (before["epochs"], before["steps"], ours["epochs"]) == (2, 16, 3)
    assert ours["continued_from"] == theirs["continued_from"]
    assert (workdir / "result-16.json").exists()
    # There is nothing left to do, and all say so.
    code, output = finish(start("--workdir", workdir, "--epochs", "3", **two))
    assert code == 0 and output.count("this run is finished") == 1, output


@pytest.mark.slow
def test_a_hung_collective_ends_all_processes_with_their_stacks(tmp_path):
    """One of two stops stepping: the other waits for it in the training step."""
    workdir = tmp_path / "run"
    code, output = finish(
        start("--workdir", workdir, "--hang-at", "12", "--stall-timeout", "8",
              processes=2, HANG_IN="1")
    )  # fmt: skip
    assert code == 6, output
    assert output.count("(--stall-timeout)") == 2, output
    assert "the last good checkpoint is step 8" in output
    waiting, hanging = ((workdir / f"stalled-{i}.txt").read_text() for i in (0, 1))
    assert "tiny.py" in hanging and "__next__" in hanging
    assert "loop.py" in waiting and "__next__" not in waiting


@pytest.mark.slow
def test_processes_that_were_started_differently_are_refused(tmp_path):
    from jaxvision.runs.launch import _free_port

    address = f"127.0.0.1:{_free_port()}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.tiny", "--workdir", str(tmp_path / "run"),
             "--coordinator", address, "--num-processes", "2",
             "--process-id", str(index), "--learning-rate", rate],
            cwd=ROOT, env=os.environ | {"XLA_FLAGS": ""},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for index, rate in enumerate(["0.05", "0.1"])
    ]  # fmt: skip
    for process in processes:
        code, output = finish(process)
        assert code == 2, output
        assert "not started alike" in output
        assert "learning_rate: 0.05 in process 0, 0.1 in process 1" in output
    assert not (tmp_path / "run").exists()


def test_a_coordinator_that_does_not_answer_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.tiny", "--workdir", str(tmp_path / "run"),
         "--coordinator", "127.0.0.1:9", "--num-processes", "2", "--process-id", "1",
         "--start-timeout", "1"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search("no coordinator answers at 127.0.0.1:9 after 1 s", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("coordinator", "address"),
    [
        ("127.0.0.1:8476", "127.0.0.1:8476"),
        ("localhost:8476", "localhost:8476"),
        ("[::1]:8476", "[::1]:8476"),
        ("resnet-0.resnet:8476", None),  # JAX's own choice: every interface
        ("10.0.0.7:8476", None),
        (None, None),
    ],
)
def test_processes_of_one_machine_listen_on_it_alone(monkeypatch, coordinator, address):
    calls = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *_, **options: calls.append(options)
    )
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(processes, "_in_cluster", lambda _: coordinator is None)
    processes.start(coordinator, 2, 0)
    assert calls[0]["coordinator_bind_address"] == address
