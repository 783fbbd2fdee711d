"""What comes before and after the training: notices, full disks, records, pictures."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from jaxvision import visualise
from jaxvision.engine import logging as logs
from jaxvision.files import read_object
from jaxvision.runs import execute, pictures, record, run
from jaxvision.types import Experiment
from tests import tiny

ROOT = Path(__file__).parent.parent
CLASSES = ("$x^$", "a_{b", "[red]", "\udcff")


def build(config) -> Experiment:
    """The tiny experiment with pictures, and with names as users have them."""
    return tiny.build(config)._replace(
        classes=CLASSES, show=visualise.classification, steps=8
    )


def without_pictures(config) -> Experiment:
    return build(config)._replace(show=None)


def start(workdir, build=build):
    """Exit code and result."""
    arguments = ["--devices", "1", "--workdir", str(workdir)]
    try:
        return 0, run(build, tiny.Config, smoke={}, arguments=arguments)
    except SystemExit as end:
        return end.code, None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run in a folder with a name that looks like markup, and its output."""
    workdir = tmp_path_factory.mktemp("runs") / "[exp1] :smile:"
    out, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    try:
        code, result = start(workdir)
        sys.stdout.flush()
        said = sys.stdout.buffer.getvalue().decode()
    finally:
        sys.stdout = out
    assert code == 0
    return workdir, result, said


def test_names_are_printed_as_they_are_on_any_terminal(finished):
    workdir, _, said = finished
    assert f"results and pictures are in {workdir}" in said
    assert "1 ? cpu" in said  # where others read "1 × cpu"


def test_names_are_drawn_as_they_are(finished):
    files = {path.name for path in finished[0].iterdir()}
    assert {"curves.png", "confusion.png", "predictions.png"} <= files
    assert pictures.UNDRAWN not in files


@pytest.mark.slow
def test_a_picture_that_fails_costs_nothing_and_is_drawn_again(
    tmp_path, capsys, monkeypatch
):
    save = visualise.save

    def fail(figure, path):
        if path.name == "confusion.png":
            assert (path.parent / "result.json").exists()
            raise ValueError("no font")
        save(figure, path)

    monkeypatch.setattr(visualise, "save", fail)
    code, result = start(tmp_path)
    assert code == 0
    assert "confusion.png could not be drawn (no font)" in capsys.readouterr().out
    assert "ValueError: no font" in (tmp_path / pictures.UNDRAWN).read_text()
    assert (tmp_path / "predictions.png").exists()

    monkeypatch.undo()
    assert start(tmp_path) == (0, result)
    assert "pictures of this run are missing" in capsys.readouterr().out
    assert (tmp_path / "confusion.png").exists()
    assert not pictures.are_missing(tmp_path)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_at_last(events):
    events._writer.close()
    full()


@pytest.mark.parametrize(
    ("where", "name", "fail"),
    [
        (logs._Events, "__init__", full),
        (logs._Events, "close", full_at_last),
        (visualise, "save", full),
        (execute, "replace_object", full),
        (Path, "mkdir", full),
    ],
)
def test_a_full_disk_has_a_code_of_its_own_everywhere(
    tmp_path, capsys, monkeypatch, where, name, fail
):
    monkeypatch.setattr(where, name, fail)
    code, _ = start(tmp_path / "run", without_pictures)
    said = capsys.readouterr().err
    assert code == 4, said
    assert "No space left on device" in said and "make room" in said
    monkeypatch.undo()
    assert start(tmp_path / "run", without_pictures)[0] == 0


NOTICE = """
import os, signal, sys
from jaxvision.engine import loop
from jaxvision.runs import execute, pictures, testing
from tests import test_end_of_run as this

points = {
    "compilation": (signal.SIGTERM, loop, "make_train_step"),
    "testing": (signal.SIGUSR1, testing, "test"),
    "pictures": (signal.SIGTERM, pictures, "draw"),
}
for name, (number, module, function) in points.items():
    child = os.fork()
    if child == 0:
        setattr(module, function, lambda *_, **__: os.kill(os.getpid(), number))
        this.start(sys.argv[1], this.without_pictures)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(name, os.waitstatus_to_exitcode(status), flush=True)
print("again", this.start(sys.argv[1], this.without_pictures)[0])
"""


@pytest.mark.slow
def test_a_notice_outside_of_the_training_ends_with_the_code_to_go_on(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOTICE, str(tmp_path / "run")], cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": "", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    ends = [line for line in done.stdout.splitlines() if line.split()[-1].isdigit()]
    for line in ("compilation 75", "testing 75", "pictures 75", "again 0"):
        assert line in ends, done.stdout + done.stderr
    assert done.stderr.count("SIGTERM while nothing was being trained") == 2
    assert done.stderr.count("SIGUSR1 while nothing was being trained") == 1


def test_a_notice_during_the_imports_ends_with_the_code_to_go_on():
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "experiments.mnist_mlp", "--help"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if line.rstrip().endswith("jaxvision.errors"):  # the experiment's first
                process.terminate()
                break
        process.stderr.read()
    assert process.returncode == 75


def test_a_run_directory_whose_name_is_no_text_is_refused(tmp_path, capsys):
    assert start(tmp_path / "gr\udcffn")[0] == 2
    assert "is not UTF-8: choose another --workdir" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_what_a_killed_run_had_begun_to_write_is_cleared(finished, monkeypatch):
    workdir = finished[0]
    left = workdir / "pictures" / "step-8" / ".worst.png.1.partial"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    (workdir / "result.json").unlink()
    assert start(workdir)[0] == 0
    assert not left.exists()


def test_a_record_holds_no_number_that_json_lacks(tmp_path):
    """Like NaN; and says nothing of arrays, whatever library they are from."""

    def compute(sums, rows):
        return {"loss": float("nan"), "accuracy": 0.5}

    def scripted(config):
        experiment = without_pictures(config)
        return experiment._replace(task=experiment.task._replace(compute=compute))

    code, result = start(tmp_path, scripted)
    assert code == 0 and result["test_loss"] is None
    assert read_object(tmp_path / "result.json") == result
    assert record.number(result, "test_loss") != record.number(result, "test_loss")


def test_figures_of_a_hook_that_fail_do_not_end_the_training(tmp_path, capsys):
    class Broken(Figure):
        def savefig(self, *_, **__):
            raise RuntimeError("no glyph")

    def hooked(config):
        return without_pictures(config)._replace(
            on_evaluation=lambda moment: {"a.png": Broken()}
        )

    assert start(tmp_path, hooked)[0] == 0
    assert "warning: a.png could not be drawn (no glyph)" in capsys.readouterr().out
