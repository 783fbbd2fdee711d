"""Tables of points are objects with keypoints, and what is wrong has a line."""

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import registry
from jaxvision.errors import UsageError

TRAIN = """file,x0,y0,x_1,y_1,blurred
0.png,1.5,2,6,5,no
1.png,,,3,4.25,yes
2.png,,,,,no
"""
TEST = "path,x0,y0,x_1,y_1\n3.png,0,0,8,6\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "faces"
    for name in ("train/0", "train/1", "train/2", "test/3"):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 6), 50).save(path)
    (root / "train.csv").write_text(TRAIN)
    (root / "test.csv").write_text(TEST)
    return root


def test_points_are_keypoints_of_one_object(folder):
    splits = registry.load(f"landmarks:{folder}")
    assert splits.test.choice == "the table test.csv, as declared"
    assert splits.train.image_shape == (6, 8, 1)
    found = splits.train.targets()
    expected = [[[1.5, 2, 2], [6, 5, 2]], [[0, 0, 0], [3, 4.25, 2]], np.zeros((2, 3))]
    np.testing.assert_array_equal(found["keypoints"][:, 0], np.stack(expected))
    np.testing.assert_array_equal(
        found["boxes"][:2, 0], [[1, 1.5, 6.5, 5.5], [2.5, 3.75, 3.5, 4.75]]
    )
    np.testing.assert_array_equal(found["classes"], [[0], [0], [-1]])
    # Of one table alone a part is held out.
    whole = registry.load(f"landmarks:{folder / 'train.csv'}")
    assert whole.train.size + whole.test.size == 3


BAD = {
    "half a point": (TRAIN.replace("1.5,2", "1.5,"), "line 2.*0.*one coordinate alone"),
    "no number": (TRAIN.replace("1.5", "left"), "line 2.*'left' is not a number"),
    "no file": (TRAIN.replace("1.png", "9.png"), "line 3: there is no file"),
    "twice": (TRAIN.replace("1.png", "0.png"), "line 3.*already in line 2"),
    "no points": ("file,a\n0.png,1\n", "no columns of points, only 'file', 'a'"),
    "no files": ("x0,y0\n1,1\n", "no column of image files, only 'x0', 'y0'"),
    "outside": (TRAIN.replace("6,5", "6,50"), "line 2.*is not inside its image"),
    "other points": (TRAIN.replace("x_1,y_1", "x_2,y_2"), "test.csv has the points"),
    "short": (TRAIN + "3.png,1\n", "line 5: not one value for a column"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(folder, name):
    text, message = BAD[name]
    (folder / "train.csv").write_text(text)
    with pytest.raises(UsageError, match=rf"(?s){message}"):
        registry.load(f"landmarks:{folder}")


def test_a_table_without_rows_is_no_split(folder):
    (folder / "test.csv").write_text(TRAIN.splitlines()[0])
    message = r"no image to be tested on: there is none in the table test\.csv"
    with pytest.raises(UsageError, match=message):
        registry.load(f"landmarks:{folder}")


def test_a_split_that_is_not_read_is_refused(folder):
    (folder / "test.csv").rename(folder / "test_images.csv")
    with pytest.raises(UsageError, match="looks like a split"):
        registry.load(f"landmarks:{folder}")
    (folder / "train.csv").unlink()
    with pytest.raises(UsageError, match=r"no table train\.csv, only test_images"):
        registry.load(f"landmarks:{folder}")
