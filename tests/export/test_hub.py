"""Push and pull, with a folder in place of the Hugging Face hub."""

import fnmatch
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import jaxvision
from jaxvision.errors import UsageError
from jaxvision.export import hub
from jaxvision.files import read_object, replace_object
from jaxvision.runs import run
from tests import predictors, tiny


class Hub:
    """Repositories as folders below `root`; what was asked of it is kept in `made`."""

    def __init__(self, root: Path):
        self.root, self.made = root, []

    def create_repo(self, repo_id, *, private, exist_ok):
        assert exist_ok
        self.made.append((repo_id, private))
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        self._copy(Path(folder_path), self.root / repo_id, allow_patterns)

    def snapshot_download(self, repo_id, *, revision, local_dir, allow_patterns):
        if not (self.root / repo_id).is_dir():
            raise OSError(f"404: there is no {repo_id}\nRequest ID: 1")
        self._copy(self.root / repo_id, Path(local_dir), allow_patterns)

    def _copy(self, source, target, patterns):
        for path in source.rglob("*"):
            name = path.relative_to(source).as_posix()
            if path.is_file() and any(fnmatch.fnmatch(name, each) for each in patterns):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / name)


@pytest.fixture
def there(tmp_path, monkeypatch):
    there = Hub(tmp_path / "hub")
    module = types.ModuleType("huggingface_hub")
    module.HfApi = lambda: there
    module.snapshot_download = there.snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return there


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    options = ["--devices", "1", "--epochs", "1", "--workdir", str(workdir)]
    run(tiny.build, tiny.Config, smoke={}, arguments=options)
    return workdir


@pytest.mark.slow
def test_a_run_that_comes_back_predicts_the_same(finished, there, tmp_path):
    address = hub.push(finished, "me/tiny")
    assert address == "https://huggingface.co/me/tiny"
    assert there.made == [("me/tiny", True)]
    hub.pull("me/tiny", tmp_path / "back")
    pictures = predictors.pictures(3)
    expected = jaxvision.load(finished).predict(pictures)["probabilities"]
    found = jaxvision.load(tmp_path / "back").predict(pictures)["probabilities"]
    np.testing.assert_array_equal(found, expected)
    card = (tmp_path / "back" / "README.md").read_text()
    assert "python -m jaxvision pull me/tiny tiny" in card and "test accuracy" in card


def test_only_files_of_a_run_travel(finished, there, tmp_path):
    (finished / "secret.env").write_text("TOKEN=1")
    hub.push(finished, "me/tiny", public=True)
    assert there.made == [("me/tiny", False)]
    assert not (there.root / "me/tiny/secret.env").exists()
    (there.root / "me/tiny/experiment.py").write_text("raise SystemExit('executed')")
    hub.pull("me/tiny", tmp_path / "back")
    assert not [*(tmp_path / "back").rglob("*.py")]


def test_what_cannot_be_pushed_or_pulled_is_refused(finished, there, tmp_path):
    with pytest.raises(UsageError, match=r"result\.json is missing"):
        hub.push(tmp_path, "me/tiny")
    assert not there.made
    with pytest.raises(
        UsageError, match=r"me/none on the Hugging Face hub: 404.*none;"
    ):
        hub.pull("me/none", tmp_path / "x")
    (there.root / "me/other").mkdir(parents=True)
    with pytest.raises(UsageError, match="me/other holds no run of jaxvision"):
        hub.pull("me/other", tmp_path / "x")
    (there.root / "me/other/config.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match=r"has format 99[^!]*has no checkpoints"):
        hub.pull("me/other", tmp_path / "y")
    hub.push(finished, "me/tiny")
    file = there.root / "me/tiny/prediction.json"
    replace_object(file, read_object(file) | {"task": None})
    with pytest.raises(UsageError, match="needs the code of its experiment"):
        hub.pull("me/tiny", tmp_path / "z")
    with pytest.raises(UsageError, match="is there already"):
        hub.pull("me/tiny", finished)


def test_a_missing_package_is_named(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"jaxvision-research\[hub\]"):
        hub.pull("me/tiny", tmp_path / "x")
    before = [*finished.iterdir()]
    with pytest.raises(UsageError, match=r"jaxvision-research\[hub\]"):
        hub.push(finished, "me/tiny")
    assert [*finished.iterdir()] == before
