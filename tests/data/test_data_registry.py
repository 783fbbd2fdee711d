"""Names reach the right set, and a wrong one gets the nearest."""

import subprocess
import sys

import pytest

from jaxvision.data import registry
from jaxvision.errors import UsageError


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("mnist_5k", 4_000, (28, 28, 1)),
        ("synthetic", 1_024, (28, 28, 1)),
        ("synthetic:32x32x3:7", 1_024, (32, 32, 3)),
    ],
)
def test_sets_that_need_no_download(name, size, shape, tmp_path):
    splits = registry.load(name, data_dir=str(tmp_path / "never made"))
    assert (splits.train.size, splits.train.image_shape) == (size, shape)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("act", [registry.load, registry.prepare])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mnst", "'mnist'"),
        ("mnist5k", "'mnist_5k'"),
        ("sinthetic", "'synthetic'"),
        ("cifar-10", "'cifar10'"),
        ("cifar-10:3.0.2", "'cifar10'"),
        ("mnist/small", "'mnist'"),
        ("imagenette/32px", "'imagenette/320px'"),
        ("huggingface:mnist", "mnist"),
        ("../mnist", "'mnist'"),
        ("", "choose from"),
    ],
)
def test_an_unknown_name_gets_the_nearest(act, name, nearest, tmp_path):
    with pytest.raises(
        UsageError, match=r"unknown (variant of the )?dataset"
    ) as caught:
        act(name, data_dir=str(tmp_path))
    assert repr(name) in str(caught.value)
    assert nearest in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("foldr:/data/pets", "did you mean 'folder'"),
        ("json:pets.jsonl", "did you mean 'jsonl'"),
        ("sound:/data/clips", "did you mean 'sounds'"),
        ("tar:/data/pets", "choose from: binaries, coco, csv, folder, jsonl, masks"),
        ("folder", "such as folder:PATH"),
    ],
)
def test_an_unknown_kind_of_own_data_gets_the_nearest(name, hint):
    with pytest.raises(UsageError, match="unknown") as caught:
        registry.load(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("kind", registry.OWN)
def test_a_kind_without_a_path(kind):
    with pytest.raises(UsageError, match=f"write {kind}:PATH"):
        registry.load(f"{kind}:")


@pytest.mark.parametrize("kind", registry.OWN)
def test_a_path_that_leads_nowhere(kind, tmp_path):
    with pytest.raises(UsageError, match="there is no f") as caught:
        registry.load(f"{kind}:{tmp_path / 'nowhere'}")
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_a_path_without_its_kind(tmp_path):
    with pytest.raises(UsageError, match=f"such as folder:{tmp_path}"):
        registry.load(str(tmp_path))
    table = tmp_path / "pets.csv"
    table.write_text("path,label\n")
    with pytest.raises(UsageError, match=f"such as csv:{table}"):
        registry.load(str(table))


@pytest.mark.parametrize("name", ["mnist_5k", "synthetic:8x8x1", "folder:/x", "npz:x"])
def test_nothing_to_prepare(name):
    with pytest.raises(UsageError, match="needs no preparation"):
        registry.prepare(name)


def test_import_is_light():
    code = (
        "import sys, jaxvision.data.registry; "
        "sys.exit(bool({'tensorflow_datasets', 'cv2', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
