"""Every code block of docs/tutorial.md runs, in its order, as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path):
    """Runs a command in the reader's folder, and fails if it fails."""

    def execute(*command):
        paths = f"{ROOT}{os.pathsep}{tmp_path}"
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300,
            env=os.environ | {"XLA_FLAGS": "", "PYTHONPATH": paths},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return execute


@pytest.mark.slow
def test_the_tutorial_is_true(reader, tmp_path):
    assert {kind for kind, _ in BLOCKS} == {"python", "bash"}
    first = next(i for i, (kind, _) in enumerate(BLOCKS) if kind == "bash")
    file = "\n\n".join(text for _, text in BLOCKS[:first])
    (tmp_path / "denoise.py").write_text(file, encoding="utf-8")
    printed = ""
    for kind, text in BLOCKS[first:]:
        if kind == "bash":
            for line in text.splitlines():
                program, *words = line.split()
                assert program == "python"
                reader(sys.executable, *words)
        else:
            printed += reader(sys.executable, "-c", f"import sys; sys.ps1 = ''\n{text}")
    assert "(1, 28, 28, 1)" in printed
    assert {"predictions.png", "curves.png", "result.json"} <= set(
        os.listdir(tmp_path / "runs" / "first")
    )


def test_the_options_of_the_table_exist(reader, tmp_path):
    named = r"`python -m (?:jaxvision )?(sweep|denoise)[^`]*?(--[\w-]+)"
    options = set(re.findall(named, PAGE))
    help_of = {
        "sweep": reader(sys.executable, "-m", "jaxvision", "sweep", "--help"),
        "denoise": reader(sys.executable, "-m", "tests.tiny", "--help-all"),
    }
    assert {command for command, _ in options} == set(help_of)
    for command, option in options - {("denoise", "--smoke")}:
        assert option in help_of[command]
