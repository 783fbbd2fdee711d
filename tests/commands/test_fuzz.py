"""Command lines at random: what is typed ends with a documented code in one message.

Nothing here trains: where an experiment would begin to, its run ends.
"""

import dataclasses
import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments import mnist_lenet5
from jaxvision.commands import main as cli
from jaxvision.runs import execute
from jaxvision.runs.exit_codes import EXIT_CODES
from jaxvision.runs.options import Launch, Numerics

NASTY = [
    *("", " ", "-", "--", "=", ",", ":", ".", "..", "\n", "²", "🙂", "\udcff", "%s"),
    *("nan", "inf", "-inf", "-1", "0", "1", "0.5", "1e308", "1e-320", "9" * 400),
    *("None", "True", "no", "x" * 300, "a/" * 2000, "[bold]", "[/]", "$x^$", '"--x'),
    *("~nosuchuser/x", "README.md", "folder", "/dev/null", "/proc/none", "*"),
    *("data=", "data=1,data=1", "data=²", "1:2", "2:1", "²:³", "localhost:x"),
    *("mnist_5k", "mnist_5k:3", "synthetic:", "synthetic:8x8x1:3", "synthetic:0x0"),
    *("folder:", "folder:none", "npz:README.md", "csv:folder", "fold:1/0:mnist_5k"),
    *("fold:0/2:synthetic", "scenes:x", "nosuchset", "coco:README.md", "series:x"),
    *("experiments.none", "json", "experiments.mnist_lenet5", "lr=1,2", "lr=,"),
]
LONG = 150
ENDED = subprocess.Popen


class Begun(BaseException):
    """The run would train now."""


def long_and_short(strategy):
    """The test with a few examples, and with many among the slow tests."""

    def decorate(test):
        @pytest.mark.parametrize(
            "examples", [25, pytest.param(LONG, marks=pytest.mark.slow)]
        )
        def run(examples, capsys, tmp_path, monkeypatch):
            page = "<!-- results -->\n<!-- /results -->\n"
            (tmp_path / "README.md").write_text(page)
            (tmp_path / "folder").mkdir()
            monkeypatch.chdir(tmp_path)

            @settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(strategy)
            def drawn(value):
                test(capsys, monkeypatch, value)

            drawn()

        run.__name__ = test.__name__
        return run

    return decorate


def ends_well(capsys, call):
    """One message at most, no traceback, and a code that is documented."""
    code = 0
    try:
        call()
    except Begun:
        pass
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    assert code in {0, 1, *EXIT_CODES.values()}, err
    assert "Traceback" not in out + err


FIELDS = [
    field.name.replace("_", "-")
    for part in (mnist_lenet5.Config, Numerics, Launch)
    for field in dataclasses.fields(part)
    # These begin to wait for other processes, or to compile.
    if field.name not in ("coordinator", "num_processes", "process_id", "max_batch",
                          "dry_run", "vmap_seeds")
]  # fmt: skip


@long_and_short(
    st.tuples(
        st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(NASTY), max_size=3),
        st.lists(st.sampled_from(NASTY), max_size=1),
    )
)
def test_an_experiment(capsys, monkeypatch, drawn):
    options, others = drawn

    def fit(*arguments, **options):
        raise Begun

    monkeypatch.setattr(execute, "fit", fit)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    ends_well(
        capsys,
        lambda: execute.run(
            mnist_lenet5.build,
            mnist_lenet5.Config,
            smoke=dict(dataset="synthetic:32x32x1", epochs=1),
            arguments=["--smoke", *words, *others],
        ),
    )


OPTIONS = {
    "models": [],
    "datasets": ["data-dir", "output"],
    "augment": ["dataset", "columns", "size", "seed", "output"],
    "quality": ["labels", "folds", "options", "output"],
    "table": ["page", "records"],
    "publish": ["tag", "records"],
    "prepare": ["data-dir"],
    "run": [],
    "new": ["from"],
    "doctor": [],
    "report": [],
    "predict": [
        "run",
        "model",
        "weights",
        "export",
        "size",
        "classes",
        "output",
        "save",
    ],
    "draw": ["run", "port", "export"],
    "explain": [
        "run",
        "model",
        "image",
        "dataset",
        "layer",
        "pixel",
        "steps",
        "output",
    ],
    "export": ["run", "model", "to"],
    "push": [],
    "pull": [],
    "serve": ["run", "model", "export", "port"],
    "runs": ["sort"],
    "compare": ["output"],
    "sweep": ["seeds", "grid", "workdir"],
    "launch": ["processes", "devices"],
}


@long_and_short(st.data())
def test_a_command(capsys, monkeypatch, data):
    def finished(*arguments, **options):
        return subprocess.CompletedProcess(arguments, 1, "", "")

    def started(*arguments, **options):
        return ENDED(["false"])

    def become(*arguments):
        raise Begun

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(subprocess, "run", finished)
    monkeypatch.setattr(subprocess, "Popen", started)
    command = data.draw(st.sampled_from(sorted(OPTIONS)))
    words = []
    for option in OPTIONS[command]:
        if data.draw(st.booleans()):
            words += [f"--{option}", data.draw(st.sampled_from(NASTY))]
    words += data.draw(st.lists(st.sampled_from(NASTY), max_size=2))
    ends_well(capsys, lambda: cli.main([command, *words]))


def test_every_command_is_tried():
    assert OPTIONS.keys() == cli.COMMANDS.keys()
