"""What the command line of an experiment shows, takes and refuses."""

import dataclasses
import subprocess
import sys

import pytest

from jaxvision.errors import UsageError
from jaxvision.runs import command_line, run
from jaxvision.runs.options import GROUPS, Launch, Numerics
from tests import tiny
from tests.tiny import build


@dataclasses.dataclass(frozen=True)
class Config(tiny.Config):
    epochs: float = 3.0


def parse(*arguments, Config=Config):
    return command_line.parse(build, Config, {}, arguments)


def refused(capsys, *arguments, Config=Config) -> str:
    """The message with which a run ends before it has begun, with code 2."""
    with pytest.raises(SystemExit) as end:
        run(build, Config, smoke={}, arguments=arguments)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return err


def test_options_reach_their_dataclass(tmp_path):
    command = parse("--epochs", "3", "--ema", "0.9", "--workdir", str(tmp_path))
    assert command.config == dataclasses.replace(Config(), epochs=3)
    assert command.numerics == Numerics(ema=0.9)
    assert command.launch == Launch(workdir=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--epochs", "nan"), "--epochs must be finite, got nan"),
        (("--epochs", "inf"), "--epochs must be finite"),
        (("--epochs", "1e308"), "between 1 and 2^31 steps"),
        (("--epochs", "0.001"), "between 1 and 2^31 steps"),
        (("--learning-rate", "inf"), "--learning-rate must be finite"),
        (("--ema", "nan"), "--ema must be finite"),
        (("--max-batch", "nan"), "--max-batch must be finite"),
        (("--max-batch", "-1"), "--max-batch is a memory in gigabytes, got -1.0"),
        (("--vmap-seeds", "0", str(2**64)), "--vmap-seeds must be an integer of 64"),
        (("--seed", str(2**64)), "--seed must be an integer of 64 bits"),
        (("--batch-size", "9" * 400), "--batch-size must be an integer of 64 bits"),
        (("--seed", "-1"), "seed must not be negative"),
        (("--host-timeout", "-1"), "--host-timeout must be positive, got -1"),
        (("--process-id", "-1"), "--process-id is counted from 0, got -1"),
        (("--mesh", "data=²"), "a positive size, got '²'"),
        (("--profile", "²:³"), "two steps in order"),
        (("--workdir", "x" * 300), "longer than 255 bytes"),
    ],
)
def test_what_no_run_can_mean_is_refused(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_a_field_is_not_called_like_an_option_of_every_experiment(capsys):
    @dataclasses.dataclass(frozen=True)
    class Ours(Config):
        ema: float = 0.5
        mesh: str = ""

    message = refused(capsys, Config=Ours)
    assert "field 'ema' of Ours" in message and "field 'mesh'" in message


def test_the_help_of_a_field_is_one_line_of_text(capsys, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Wordy(Config):
        strength: float = 0.5
        """How strong it is,
        and where."""

    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        parse("--help", Config=Wordy)
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "How strong it is, and where. (default: 0.5)" in shown
    assert "--epochs" in shown and "--workdir" in shown, "inherited, and of every run"


def test_rare_options_are_shown_on_request_only(capsys):
    shown = {}
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            parse(option)
        shown[option] = capsys.readouterr().out
    assert "--coordinator" not in shown["--help"]
    assert "--help-all" in shown["--help"]
    assert "--coordinator" in shown["--help-all"]
    assert parse("--stall-timeout", "9").launch.stall_timeout == 9


def test_every_option_of_a_run_is_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    options = [f.name for part in (Numerics, Launch) for f in dataclasses.fields(part)]
    assert sorted(grouped) == sorted(options)


def test_whoever_reads_the_help_may_stop():
    code = (
        "from tests.tiny import Config, build\n"
        "from jaxvision.runs import run\n"
        "run(build, Config, smoke={}, arguments=['--help'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_library_gets_an_exception():
    with pytest.raises(UsageError, match="--epochs must be finite"):
        parse("--epochs", "nan")
