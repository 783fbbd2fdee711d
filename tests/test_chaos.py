"""Twenty disasters over one run, or two hundred, and not a bit is lost.

Each attempt runs in a fresh child of a process that has imported everything already,
since twenty starts of Python would take longer than the training.
"""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from test_processes import rows

ROOT = Path(__file__).parent.parent
KINDS = ("SIGKILL", "SIGKILL", "SIGTERM", "corrupt", "truncate")

SERVER = """
import os, sys
from jaxvision.notices import end_at_notice
from tests import tiny
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        end_at_notice()  # as a program does before its imports
        os.dup2(2, 1)
        tiny.run(tiny.build, tiny.Config, smoke={}, arguments=line.split())
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Server:
    """Runs the tiny experiment in children, one after the other."""

    def __init__(self, log):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER], cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": ""}, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip

    def start(self, *arguments):
        """The process id of a run that has just begun."""
        self._process.stdin.write(" ".join(map(str, arguments)) + "\n")
        return int(self._answer())

    def wait(self, seconds):
        """The exit code, or None if the run goes on after so many seconds."""
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return int(self._answer()) if ready else None

    def _answer(self):
        while True:
            line = self._process.stdout.readline()
            assert line, "the server is gone"
            if line.strip().lstrip("-").isdigit():
                return line

    def close(self):
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


def newest(workdir):
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")
             if path.name.isdigit()]  # fmt: skip
    return max(steps, default=None)


def damage(workdir, kind, draw):
    """Spoil the newest checkpoint; False if there is none yet."""
    step = newest(workdir)
    if step is None:
        return False
    folder = workdir / "checkpoints" / str(step)
    files = sorted(folder.rglob("*.npz"))
    if not files:
        return False
    victim = draw.choice(files)
    content = bytearray(victim.read_bytes())
    if kind == "corrupt":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    else:
        del content[draw.randrange(len(content)) :]
    victim.write_bytes(content)
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disasters", "epochs"),
    [(20, 40), pytest.param(200, 400, marks=pytest.mark.exhaustive)],
)
def test_disasters_end_in_the_same_bits(disasters, epochs, tmp_path):
    seed = random.randrange(10**6)
    print(f"disasters drawn from seed {seed}")
    draw = random.Random(seed)
    options = ["--model", "mlp", "--epochs", str(epochs), "--pause", "0.004"]
    with (
        open(tmp_path / "log.txt", "w", encoding="utf-8") as log,
        contextlib.closing(Server(log)) as server,
    ):
        quiet, chaos = tmp_path / "quiet", tmp_path / "chaos"
        server.start(*options, "--workdir", quiet)
        assert server.wait(600) == 0, (tmp_path / "log.txt").read_text()

        happened, code, attempts = [], None, 0
        while code != 0:
            attempts += 1
            assert attempts < 3 * disasters
            command = [*options, "--save-every-steps", "6", "--workdir", chaos]
            child, before = server.start(*command), newest(chaos)
            if len(happened) < disasters:
                # Let it get a little further, so that it ends some day; then strike.
                while newest(chaos) == before and (code := server.wait(0.01)) is None:
                    pass
                if code is None and (code := server.wait(draw.uniform(0, 0.3))) is None:
                    kind = draw.choice(KINDS)
                    number = signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL
                    os.kill(child, number)
                    code = server.wait(300)
                    assert code in (0, 75, -signal.SIGKILL), (
                        tmp_path / "log.txt"
                    ).read_text()
                    if kind in ("corrupt", "truncate") and not damage(
                        chaos, kind, draw
                    ):
                        kind = "SIGKILL"  # before the first checkpoint was there
                    happened.append(kind)
            else:
                code = server.wait(300)
    print(f"{attempts} starts, {dict(Counter(happened))}")
    assert len(happened) >= disasters, happened
    results = [json.loads((run / "result.json").read_text()) for run in (quiet, chaos)]
    for key in ("params_digest", "best_params_digest", "test_loss", "steps"):
        assert results[0][key] == results[1][key], key
    assert rows(quiet) == rows(chaos)
