"""What a record says of its origin."""

import os
import subprocess

from jaxvision.runs import record


def test_the_state_of_git_is_looked_at_without_a_lock(tmp_path, monkeypatch):
    """`git status` would refresh the index, and stand in the way of the user's own."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    git("init", "-q")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "one")
    os.utime(tmp_path / "a.py", (1, 1))  # the same content, at another time
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.chdir(tmp_path)
    found = record.provenance("experiments.a", [])
    assert found["git_dirty"] is False and len(found["git_commit"]) == 40
    assert index.read_bytes() == before
