import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxvision import visualise
from jaxvision.errors import UsageError


def test_save_writes_a_picture_that_can_be_read(tmp_path):
    path = tmp_path / "curves.png"
    rows = [{"step": 1, "epoch": 1, "train/loss": 2.0, "validation/loss": 3.0}]
    visualise.save(visualise.curves(rows), path)
    pixels = np.asarray(Image.open(path).convert("L"))
    assert pixels.shape[0] > 300 and pixels.min() < 128 < pixels.max()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_picture_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(self, file, **options):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        visualise.save(Figure(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_save_wants_an_existing_folder(tmp_path):
    with pytest.raises(UsageError, match="nowhere does not exist"):
        visualise.save(Figure(), tmp_path / "nowhere" / "curves.png")


def test_importing_the_package_does_not_import_matplotlib():
    code = (
        "import sys, jaxvision.visualise; "
        "jaxvision.visualise.classification(['a', 'b']); "
        "assert 'matplotlib' not in sys.modules; "
        "jaxvision.visualise.curves; assert 'matplotlib' in sys.modules; "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_picture_that_does_not_exist():
    with pytest.raises(AttributeError, match="'curvs'"):
        visualise.curvs  # noqa: B018
