"""Damaged run directories: the same bits, or a word and a code, and never a traceback.

A small run is damaged, one file or folder at a time, and started again in this process.
"""

import json
import os
import random
import shutil
import signal

import pytest

from jaxvision.runs import run
from tests.tiny import Config, build

OPTIONS = ("--epochs", "4", "--devices", "1", "--learning-rate", "1.0")
"""The best checkpoint is the first of four, and has to be kept."""
INTERRUPTED_AT = 27
CODES = (0, 2, 4)
SAME = (
    "params_digest",
    "best_params_digest",
    "best_step",
    "test_loss",
    "test_accuracy",
    "validation_loss",
)


def start(workdir, build=build):
    """Exit code and result."""
    arguments = [*OPTIONS, "--workdir", str(workdir)]
    signal.alarm(120)  # a hang ends the tests, with the word alarm
    try:
        return 0, run(build, Config, smoke={}, arguments=arguments, name="tests.tiny")
    except SystemExit as end:
        return end.code, None
    finally:
        signal.alarm(0)


def interrupted(config):
    """The tiny experiment, with SIGTERM while an item is drawn."""
    experiment = build(config)

    class Items:
        def __init__(self, rows=slice(None)):
            self._items, self._drawn = experiment.train.items(rows), 0

        def __next__(self):
            self._drawn += 1
            if self._drawn == INTERRUPTED_AT:
                os.kill(os.getpid(), signal.SIGTERM)
            return next(self._items)

        def get_state(self):
            return self._items.get_state()

    return experiment._replace(train=experiment.train._replace(items=Items))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a finished run and of one that was interrupted, and the result."""
    folder = tmp_path_factory.mktemp("runs")
    code, result = start(folder / "finished")
    assert code == 0 and result["best_step"] == 8
    code, _ = start(folder / "interrupted", interrupted)
    assert code == 75
    return folder, result


def flip(path, draw):
    content = bytearray(path.read_bytes())
    if not content:
        return cut(path, draw)
    for _ in range(draw.choice((1, 1, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path, draw):
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))] if content else b"x")


def remove(path, draw):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def make_folder(path, draw):
    remove(path, draw)
    path.mkdir()


def make_file(path, draw):
    remove(path, draw)
    path.write_text("")


def empty(path, draw):
    path.write_bytes(b"")


def garble(path, draw):
    path.write_bytes(draw.randbytes(draw.randrange(1, 200)))


def other_json(path, draw):
    texts = ("[]", "null", "{}", '"a"', "1e999", "[" * 10**5, '{"step": 1}', "9" * 5000)
    path.write_text(draw.choice(texts))


def list_json(path, draw):
    path.write_text("[]")


def swap(path, draw):
    """The content of another file of the run."""
    files = [other for other in path.parent.rglob("*") if other.is_file()]
    path.write_bytes(draw.choice(sorted(files)).read_bytes())


TO_FILES = (flip, flip, cut, empty, garble, other_json, swap, remove, make_folder)
TO_FOLDERS = (remove, make_file)


def damages(workdir, draw):
    """Damage something, and sometimes another thing; in words, what was done."""
    return "; ".join(damage(workdir, draw) for _ in range(draw.choice((1, 1, 2))))


def damage(workdir, draw):
    victim = draw.choice(sorted(workdir.rglob("*")))
    action = draw.choice(TO_FOLDERS if victim.is_dir() else TO_FILES)
    action(victim, draw)
    return f"{action.__name__} {victim.relative_to(workdir)}"


def outside(folder):
    return {path for path in folder.rglob("*") if "run" not in path.parts}


def check(runs, tmp_path, capsys, state, act):
    """Start a damaged copy of a run, and hold it against what is promised."""
    folder, expected = runs
    workdir = tmp_path / "run"
    shutil.copytree(folder / state, workdir)
    what = act(workdir)
    before = outside(tmp_path)
    capsys.readouterr()
    code, result = start(workdir)
    out, err = capsys.readouterr()
    said = f"{state}: {what}: {code}\n{out}\n{err}"
    assert code in CODES, said
    assert "Traceback" not in said
    assert outside(tmp_path) == before, said
    if code:
        assert err.strip(), said
        return code, out + err
    different = [key for key in SAME if result[key] != expected[key]]
    if different:  # only where the best checkpoint is lost, and the record says so
        assert result["lost_best_step"] == expected["best_step"], said
        assert "its checkpoint is damaged or gone" in out, said
    kept = json.loads((workdir / "result.json").read_text())
    assert [kept[key] for key in SAME] == [result[key] for key in SAME]
    return code, out + err


@pytest.mark.parametrize(
    ("state", "name", "action", "code", "words"),
    [
        ("interrupted", "config.json", garble, 0, "written anew, from checkpoint"),
        ("interrupted", "config.json", remove, 0, "written anew, from checkpoint"),
        ("finished", "config.json", other_json, 0, "written anew, from checkpoint"),
        ("finished", "config.json", make_folder, 2, "a folder where a file belongs"),
        ("finished", "result.json", flip, 0, "best checkpoint is tested again"),
        ("finished", "result.json", cut, 0, "best checkpoint is tested again"),
        ("interrupted", "metrics.jsonl", flip, 0, "was damaged: it is written anew"),
        ("interrupted", "metrics.jsonl", remove, 0, "was gone: it is written anew"),
        ("interrupted", "checkpoints", make_file, 2, "file where a folder belongs"),
        ("interrupted", "tensorboard", make_file, 2, "file where a folder belongs"),
        ("interrupted", "checkpoints/8/state/shards-0.npz", cut, 0, "is damaged"),
        ("interrupted", "checkpoints/8/_CHECKPOINT_METADATA", list_json, 0, "notes"),
        ("interrupted", "checkpoints/8", remove, 0, "checkpoint is damaged or gone"),
        ("interrupted", "checkpoints/24/state/shards-0.npz", empty, 0, ""),
        ("interrupted", "checkpoints/28/state/shards-0.npz", flip, 0, "is damaged"),
    ],
)
def test_what_can_be_mended_is_and_what_cannot_is_named(
    runs, tmp_path, capsys, state, name, action, code, words
):
    def act(workdir):
        action(workdir / name, random.Random(1))
        return f"{action.__name__} {name}"

    found, said = check(runs, tmp_path, capsys, state, act)
    assert found == code, said
    assert words in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "state", ["finished", pytest.param("interrupted", marks=pytest.mark.exhaustive)]
)
def test_a_hundred_damages(runs, tmp_path, capsys, state):
    seed = int(os.environ.get("DAMAGE_SEED", 471003))
    draw, codes = random.Random(seed), []
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            code, _ = check(
                runs, folder, capsys, state, lambda workdir: damages(workdir, draw)
            )
        except BaseException as error:
            raise AssertionError(f"damage {number} of seed {seed}") from error
        codes.append(code)
        shutil.rmtree(folder)
    print(f"seed {seed}: { ({code: codes.count(code) for code in CODES}) }")
