"""What a program says at its end, by whether there is something to go on from."""

import errno
from pathlib import Path

import pytest

from jaxvision.runs.exit_codes import exit_codes


@pytest.mark.parametrize(
    ("workdir", "words"),
    [
        (None, "the same command starts it again"),
        (Path("runs/mine"), "the same command with --workdir runs/mine continues"),
    ],
)
def test_a_full_disk_says_how_to_go_on(workdir, words, capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "runs/mine/x")
    with pytest.raises(SystemExit) as end, exit_codes(workdir):
        raise full
    assert end.value.code == 4
    assert words in " ".join(capsys.readouterr().err.split())
