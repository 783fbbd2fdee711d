"""TFDS: stock builders prepared without TensorFlow, read back, and every way to fail.

The archives are made here, a few dozen random images each, and served on 127.0.0.1.
"""

import gzip
import http.server
import io
import json
import shutil
import sys
import tarfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.image_classification import cifar, mnist
from tensorflow_datasets.object_detection import voc

from jaxvision.data import registry
from jaxvision.data.carving import carve
from jaxvision.data.feed import loader
from jaxvision.data.feed.crops import random_resized_crop
from jaxvision.data.tfds import records as tfds_records
from jaxvision.data.tfds import tensorflow_stand_in
from jaxvision.data.tfds.tensorflow_stand_in import tensorflow_stand_in as stand_in
from jaxvision.errors import UsageError

TRAIN, TEST = 48, 12


def random_images(count, shape, seed=0):
    random = np.random.RandomState(seed)
    return {
        "image": random.randint(256, size=(count, *shape)).astype(np.uint8),
        "label": (np.arange(count) % 10).astype(np.uint8),
    }


def as_set(data):
    """TFDS shuffles what it stores: compare images with their labels, not the order."""
    pairs = zip(data["image"], data["label"], strict=True)
    return Counter((image.tobytes(), int(label)) for image, label in pairs)


DIGITS = {
    "train": random_images(TRAIN, (28, 28, 1)),
    "test": random_images(12, (28,) * 2),
}


def mnist_archives():
    files = {}
    for split, part in (("train", "train"), ("test", "t10k")):
        data = DIGITS[split]
        images = bytes(16) + data["image"].tobytes()
        labels = bytes(8) + data["label"].tobytes()
        files[f"/{part}-images-idx3-ubyte.gz"] = gzip.compress(images)
        files[f"/{part}-labels-idx1-ubyte.gz"] = gzip.compress(labels)
    return files


class Server:
    """Serves `files`; counts the requests; answers `status` for what it has."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.status = 200
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.requests[self.path] += 1
                body = owner.files.get(self.path, b"")
                self.send_response(owner.status if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture(scope="module")
def module_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def server(module_patch):
    """The stock builders of mnist and fashion_mnist find their archives here."""
    server = Server()
    module_patch.setenv("NO_PROXY", "127.0.0.1")
    module_patch.setattr(mnist, "_TRAIN_EXAMPLES", TRAIN)
    module_patch.setattr(mnist, "_TEST_EXAMPLES", TEST)
    module_patch.setattr(mnist.MNIST, "URL", server.url)
    module_patch.setattr(mnist.FashionMNIST, "URL", server.url)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def whole_server(server):
    server.files, server.status = mnist_archives(), 200
    server.requests.clear()


@pytest.fixture(scope="module")
def prepared(server, tmp_path_factory) -> Path:
    """A folder with `mnist` in it, to read or to copy, not to change."""
    server.files = mnist_archives()
    folder = tmp_path_factory.mktemp("prepared")
    registry.prepare("mnist", str(folder))
    return folder


@pytest.fixture
def damaged(prepared, tmp_path) -> Path:
    """A copy of `prepared`: the test does the damage."""
    shutil.copytree(prepared / "mnist", tmp_path / "mnist")
    return tmp_path / "mnist" / "3.0.1"


# Preparing and reading


def test_stock_mnist_is_prepared_without_tensorflow_and_read_back(prepared):
    splits = registry.load("mnist", data_dir=str(prepared))
    assert "tensorflow" not in sys.modules
    for split, source in splits.there().items():
        data = source.read()
        assert source.name == f"mnist:{split}"
        assert source.size == len(DIGITS[split]["label"])
        assert source.image_shape == (28, 28, 1)
        assert source.class_names == tuple("0123456789")
        assert data["image"].shape == (source.size, 28, 28, 1)
        assert (data["image"].dtype, data["label"].dtype) == (np.uint8, np.int32)
        assert as_set(data) == as_set(DIGITS[split])


def test_load_prepares_on_first_use_and_only_then(server, tmp_path):
    first = registry.load("fashion_mnist", data_dir=str(tmp_path))
    assert first.train.class_names[9] == "Ankle boot"
    assert as_set(first.train.read()) == as_set(DIGITS["train"])
    asked = server.requests.total()
    assert asked == 4
    second = registry.load("fashion_mnist", data_dir=str(tmp_path))
    assert second.test.size == TEST
    assert server.requests.total() == asked


def test_stock_cifar10_unpacks_its_archive(server, tmp_path, monkeypatch):
    """A tar of several files; RGB; class names that come with the archive."""
    data = random_images(60, (32, 32, 3))
    names = [f"class {i}" for i in range(10)]
    planes = data["image"].transpose(0, 3, 1, 2).reshape(60, -1)
    rows = np.concatenate([data["label"][:, None], planes], axis=1)
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    contents = {
        name: part.tobytes()
        for name, part in zip(files, np.split(rows, 6), strict=True)
    }
    contents["batches.meta.txt"] = "\n".join(names).encode() + b"\n\n"
    members = {f"cifar-10-batches-bin/{name}": part for name, part in contents.items()}
    server.files["/cifar.tar.gz"] = archive(members, "w:gz")
    stock = cifar.Cifar10._cifar_info.fget
    url = property(lambda self: stock(self)._replace(url=server.url + "cifar.tar.gz"))
    monkeypatch.setattr(cifar.Cifar10, "_cifar_info", url)

    splits = registry.load("cifar10", data_dir=str(tmp_path))
    assert splits.train.class_names == tuple(names)
    assert splits.train.image_shape == (32, 32, 3)
    train, test = ({k: v[part] for k, v in data.items()} for part in np.s_[:50, 50:])
    assert as_set(splits.train.read()) == as_set(train)
    assert as_set(splits.test.read()) == as_set(test)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_sets_decode_to_the_pixels_that_tfds_decodes(name):
    folder = Path(tfds.core.constants.DATA_DIR).expanduser()
    if not list(folder.glob(f"{name}/*/dataset_info.json")):
        pytest.skip(f"{name} is not prepared in {folder}")
    source = registry.load(name, data_dir=str(folder)).test
    data = source.read()
    assert len(data["label"]) == source.size == 10_000
    records = tfds.data_source(name, split="test", data_dir=str(folder))
    for i in range(0, 10_000, 97):
        np.testing.assert_array_equal(data["image"][i], records[i]["image"])
        assert data["label"][i] == records[i]["label"]


def jpeg(seed, height=40, width=60):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def archive(contents, mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="module")
def imagenette_folder(server, tmp_path_factory, module_patch):
    """`imagenette/160px-v2`: JPEG files of many sizes, `train` and `validation`."""
    builder = sys.modules[tfds.builder_cls("imagenette").__module__]
    module_patch.setattr(builder, "_URL_PREFIX", server.url)
    labels = tfds.builder("imagenette/160px-v2").info.features["label"].names
    files = {
        f"imagenette2-160/{split}/{label}/{label}_{i}.JPEG": jpeg(
            100 * number + i, 40 + i, 50 + number
        )
        for split, count in (("train", 5), ("val", 2))
        for number, label in enumerate(labels)
        for i in range(count)
    }
    server.files["/imagenette2-160.tgz"] = archive(files, "w:gz")
    folder = tmp_path_factory.mktemp("imagenette")
    registry.prepare("imagenette/160px-v2", str(folder))
    return folder, files


def test_images_of_many_sizes_are_streamed(imagenette_folder):
    folder, files = imagenette_folder
    splits = registry.load("imagenette/160px-v2", data_dir=str(folder))
    train, test, _ = splits
    assert "tensorflow" not in sys.modules
    assert (train.size, test.size) == (50, 20)
    assert test.name == "imagenette/160px-v2:validation"
    assert train.image_shape == (None, None, 3)
    stored = {train.encoded(i) for i in range(50)} | {
        test.encoded(i) for i in range(20)
    }
    assert stored == set(files.values())
    content_label = {
        content: train.class_names.index(path.split("/")[2])
        for path, content in files.items()
    }
    labels = train.targets()["label"]
    assert labels.dtype == np.int32
    assert [content_label[train.encoded(i)] for i in range(50)] == labels.tolist()
    with pytest.raises(UsageError, match="differ in size"):
        train.read()

    rest, validation = carve(train, 0.2)
    assert np.bincount(validation.targets()["label"]).tolist() == [1] * 10
    crop = random_resized_crop(24)
    pipeline = loader.train(rest, 8, transform=as_is, seed=0, crop=crop, workers=2)
    item = next(pipeline.items())
    assert item["image"].shape == (8, 24, 24, 3)
    alone = loader.train(rest, 8, transform=as_is, seed=0, crop=crop, workers=0)
    np.testing.assert_array_equal(next(alone.items())["image"], item["image"])


def as_is(key, batch):
    return batch


def test_parts_of_splits(imagenette_folder, prepared):
    folder = str(imagenette_folder[0])
    name = "imagenette/160px-v2"
    whole = registry.load(name, data_dir=folder).train
    train, test, _ = registry.load(f"{name}@train[:80%],train[80%:]", data_dir=folder)
    assert (train.size, test.size) == (40, 10)
    assert train.name == f"{name}:train[:80%]"
    labels = [part.targets()["label"] for part in (train, test)]
    np.testing.assert_array_equal(np.concatenate(labels), whole.targets()["label"])
    assert test.encoded(3) == whole.encoded(43)
    digits = registry.load(
        "mnist@train[:50%]+test[:4],train[50%:]", data_dir=str(prepared)
    )
    halves = [split.read()["image"] for split in digits[:2]]
    whole = registry.load("mnist", data_dir=str(prepared))
    images = [split.read()["image"] for split in whole[:2]]
    np.testing.assert_array_equal(halves[1], images[0][24:])
    np.testing.assert_array_equal(
        halves[0], np.concatenate([images[0][:24], images[1][:4]])
    )


def test_a_split_between_the_two_is_for_validation(prepared):
    name = "mnist@train[:50%],train[50%:],test"
    train, test, validation = registry.load(name, data_dir=str(prepared))
    assert validation.name == "mnist:train[50%:]" and test.name == "mnist:test"
    assert (train.choice, validation.choice) == (
        "",
        "the split train[50%:], as the name of the set says",
    )
    assert train.size == validation.size == TRAIN // 2


@pytest.mark.parametrize(
    ("splits", "reason"),
    [
        ("train", "what to train and to test on: write the two after the @"),
        ("train[:1],train[1:2],train[2:3],test", "or three"),
        ("train,", "what to train and to test on"),
        ("train,tset", "no split 'tset'"),
        ("train[:x],test", r"no split 'train\[:x\]'"),
        ("train[9:3],test", r"'train\[9:3\]' of dataset .* is empty"),
        ("train,train[:10]", r"has 10 examples in train and in train\[:10\]"),
        ("train[:60%],train[50%:]+test", "has 5 examples in train"),
        ("train,test[:1],test", r"has 1 examples in test\[:1\] and in test"),
    ],
)
def test_splits_that_cannot_be_used(splits, reason, prepared):
    with pytest.raises(UsageError, match=reason):
        registry.load(f"mnist@{splits}", data_dir=str(prepared))


XML = """<annotation><size><width>60</width><height>40</height></size>{}</annotation>"""
OBJECT = """<object><name>{}</name><pose>left</pose><truncated>0</truncated>
<difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>
<ymax>{}</ymax></bndbox></object>"""


def voc_archive(year, split, ids, objects):
    root = f"VOCdevkit/VOC{year}"
    files = {f"{root}/ImageSets/Main/{split}.txt": "\n".join(ids).encode()}
    if split == "train":
        files[f"{root}/ImageSets/Main/val.txt"] = ids[0].encode()
    for i, name in enumerate(ids):
        files[f"{root}/JPEGImages/{name}.jpg"] = jpeg(i)
        if objects is not None:
            text = "".join(OBJECT.format(*each) for each in objects[name])
            files[f"{root}/Annotations/{name}.xml"] = XML.format(text).encode()
    return archive(files, "w")


def test_objects_of_voc(server, tmp_path, monkeypatch):
    objects = {
        "a": [("dog", 0, 6, 4, 30, 20), ("person", 1, 1, 1, 60, 40)],
        "b": [],
        "c": [("cat", 0, 10, 10, 20, 30)],
    }
    monkeypatch.setattr(voc, "_VOC_DATA_URL", server.url)
    for part, split in (("trainval", "train"), ("test", "test")):
        tar = voc_archive(2007, split, list(objects), objects)
        server.files[f"/VOC{part}_06-Nov-2007.tar"] = tar
    train, *_ = registry.load("voc/2007", data_dir=str(tmp_path))
    assert "tensorflow" not in sys.modules
    targets = train.targets()
    order = [len(row[row >= 0]) for row in targets["classes"]]
    rows = [order.index(count) for count in (2, 0, 1)]
    names = train.class_names
    dog, person, cat = map(names.index, ("dog", "person", "cat"))
    assert targets["boxes"].shape == (3, 2, 4)
    classes = [[dog, person], [-1, -1], [cat, -1]]
    assert targets["classes"][rows].tolist() == classes
    assert targets["crowd"][rows].tolist() == [[0, 1], [0, 0], [0, 0]]
    expected = [[6, 4, 30, 20], [1, 1, 60, 40]]
    np.testing.assert_allclose(targets["boxes"][rows[0]], expected, rtol=1e-5)
    present = [np.flatnonzero(row).tolist() for row in targets["presence"][rows]]
    assert present == [sorted([dog, person]), [], [cat]]


def test_a_test_split_without_answers_is_not_used(server, tmp_path, monkeypatch):
    monkeypatch.setattr(voc, "_VOC_DATA_URL", server.url)
    objects = {"a": [("dog", 0, 6, 4, 30, 20)]}
    files = {
        "/VOCtrainval_11-May-2012.tar": voc_archive(2012, "train", ["a"], objects),
        "/VOC2012test.tar": voc_archive(2012, "test", ["z"], None),
    }
    server.files |= files
    splits = registry.load("voc/2012", data_dir=str(tmp_path))
    assert splits.test.name == "voc/2012:validation"
    assert splits.test.choice == (
        "the split validation, as declared; the split test has no annotations of these "
        "classes"
    )


def test_the_folder_comes_from_the_argument_then_the_environment(
    prepared, tmp_path, monkeypatch
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert registry.prepare("mnist") == prepared / "mnist" / "3.0.1"
    assert registry.prepare("fold:1/2:mnist") == prepared / "mnist" / "3.0.1"
    assert registry.load("mnist").train.size == TRAIN
    assert registry.prepare("mnist", str(tmp_path)) == tmp_path / "mnist" / "3.0.1"


def test_a_split_is_decoded_once_as_long_as_its_files_stay(damaged, monkeypatch):
    train = registry.load("mnist", data_dir=str(damaged.parents[1])).train
    first = train.read()

    def again(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(tfds_records, "images", again)
    second = train.read()
    for name, array in first.items():
        assert second[name].dtype == array.dtype
        np.testing.assert_array_equal(second[name], array)
    next(damaged.glob("mnist-train*")).touch()
    with pytest.raises(UsageError, match="cannot be read: ZeroDivisionError"):
        train.read()


def edit_info(folder: Path, change):
    file = folder / "dataset_info.json"
    info = json.loads(file.read_text())
    change(info)
    file.write_text(json.dumps(info))


def test_validation_serves_as_test_where_there_is_no_test(damaged):
    edit_info(damaged, lambda info: info["splits"][1].update(name="validation"))
    shard = next(damaged.glob("mnist-test*"))
    shard.rename(damaged / shard.name.replace("test", "validation"))
    test = registry.load("mnist:3.0.1", data_dir=str(damaged.parents[1])).test
    assert test.name == "mnist:3.0.1:validation"
    assert as_set(test.read()) == as_set(DIGITS["test"])


def test_validation_beside_a_test_chooses_the_best_checkpoint(damaged):
    def third(info):
        info["splits"].append(info["splits"][1] | {"name": "validation"})

    edit_info(damaged, third)
    shard = next(damaged.glob("mnist-test*"))
    shutil.copy(shard, damaged / shard.name.replace("test", "validation"))
    splits = registry.load("mnist:3.0.1", data_dir=str(damaged.parents[1]))
    assert splits.test.name == "mnist:3.0.1:test"
    assert splits.validation.name == "mnist:3.0.1:validation"
    assert splits.validation.choice == "the split validation, as declared"
    assert as_set(splits.validation.read()) == as_set(DIGITS["test"])


def test_a_split_that_looks_like_a_test_is_not_passed_over(damaged):
    edit_info(damaged, lambda info: info["splits"][1].update(name="test_a"))
    (shard,) = damaged.glob("mnist-test.*")
    shard.rename(damaged / shard.name.replace("test", "test_a"))
    folder = str(damaged.parents[1])
    with pytest.raises(
        UsageError, match=r"test on, such as mnist:3\.0\.1@train,test_a"
    ):
        registry.load("mnist:3.0.1", data_dir=folder)
    test = registry.load("mnist:3.0.1@train,test_a", data_dir=folder).test
    assert test.choice == "the split test_a, as the name of the set says"


def test_a_set_without_a_training_split_is_refused(damaged):
    edit_info(damaged, lambda info: info["splits"].pop(0))
    with pytest.raises(
        UsageError, match=r"has the splits 'test': choose what to train"
    ):
        registry.load("mnist:3.0.1", data_dir=str(damaged.parents[1]))


# Preparing fails


def assert_says_what_to_do(error: UsageError, folder: Path, name="mnist"):
    message = str(error)
    assert f"looked in: {folder / name / '3.0.1'}" in message
    assert f"python -m jaxvision prepare {name} --data-dir {folder}" in message
    assert "--dataset mnist_5k" in message


def nothing_looks_prepared(folder: Path) -> bool:
    return not list(folder.glob("*mnist/*"))


def test_no_network(monkeypatch, tmp_path, capfd, caplog):
    """The message is all that is seen, also of the other downloads under way."""
    closed = Server()
    closed.close()
    monkeypatch.setattr(mnist.MNIST, "URL", closed.url)
    before = set(threading.enumerate())
    with pytest.raises(UsageError, match="Connection refused") as caught:
        registry.load("mnist", data_dir=str(tmp_path))
    assert_says_what_to_do(caught.value, tmp_path)
    assert nothing_looks_prepared(tmp_path)
    assert set(threading.enumerate()) <= before
    assert "TensorFlow" not in "".join(capfd.readouterr())
    assert not caplog.records

    monkeypatch.undo()  # the network is back
    assert registry.load("mnist", data_dir=str(tmp_path)).train.size == TRAIN


def test_a_failing_server_is_tried_four_times_not_eleven(server, tmp_path):
    server.status = 503
    with pytest.raises(UsageError, match="503") as caught:
        registry.load("mnist", data_dir=str(tmp_path))
    assert_says_what_to_do(caught.value, tmp_path)
    assert 2 <= max(server.requests.values()) <= 4


def test_a_silent_server_is_not_waited_for_without_end(monkeypatch, tmp_path):
    """Every request has a time limit."""
    requests = pytest.importorskip("requests")
    limits = []

    def get(session, url, *, timeout=None, **options):
        limits.append(timeout)
        raise requests.ConnectTimeout("no answer")

    monkeypatch.setattr(requests.Session, "get", get)
    with pytest.raises(UsageError, match="no answer"):
        registry.load("mnist", data_dir=str(tmp_path))
    assert limits and all(max(limit) <= 60 for limit in limits)


@pytest.mark.parametrize("damage", ["cut short", "absent", "not gzip", "too few"])
def test_a_bad_archive_leaves_nothing_behind(damage, server, tmp_path):
    path = "/train-images-idx3-ubyte.gz"
    server.files[path] = {
        "cut short": server.files[path][:-100],
        "absent": b"",
        "not gzip": b"<html>not here</html>",
        "too few": gzip.compress(bytes(16 + 28 * 28)),
    }[damage]
    with pytest.raises(UsageError) as caught:
        registry.load("mnist", data_dir=str(tmp_path))
    assert_says_what_to_do(caught.value, tmp_path)
    assert nothing_looks_prepared(tmp_path)


def test_an_interruption_leaves_nothing_that_looks_prepared(
    server, tmp_path, monkeypatch
):
    def interrupted(self, **arguments):
        yield 0, {"image": DIGITS["train"]["image"][0], "label": 0}
        raise KeyboardInterrupt

    monkeypatch.setattr(mnist.MNIST, "_generate_examples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.load("mnist", data_dir=str(tmp_path))
    assert nothing_looks_prepared(tmp_path)
    monkeypatch.undo()
    # What a kill leaves, where nobody can tidy up.
    (tmp_path / "mnist" / "incomplete.ABCDEF_3.0.1").mkdir()
    assert registry.load("mnist", data_dir=str(tmp_path)).train.size == TRAIN


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        registry.load("mnist", data_dir=str(tmp_path / "file"))
    assert_says_what_to_do(caught.value, tmp_path / "file")


def test_another_process_may_be_faster(prepared, tmp_path, monkeypatch):
    """Two runs start at once: the one that comes second takes what is there."""

    def beaten(self, **arguments):
        shutil.copytree(prepared / "mnist", tmp_path / "mnist", dirs_exist_ok=True)
        raise OSError("Directory not empty")

    monkeypatch.setattr(mnist.MNIST, "download_and_prepare", beaten)
    assert registry.load("mnist", data_dir=str(tmp_path)).train.size == TRAIN


# A prepared set is damaged


def half_of(file: Path):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGE_SEEN_AT_ONCE = {
    "dataset_info.json or features.json is missing": (
        lambda d: (d / "dataset_info.json").unlink()
    ),
    "Failed to load JSON": lambda d: half_of(d / "dataset_info.json"),
    "mnist-train.array_record-00000-of-00001 is missing": (
        lambda d: next(d.glob("mnist-train*")).unlink()
    ),
    "stored as tfrecord, not as array_record": (
        lambda d: edit_info(d, lambda info: info.update(fileFormat="tfrecord"))
    ),
}
DAMAGE_SEEN_IN_READING = {
    "half a shard": lambda d: half_of(next(d.glob("mnist-train*"))),
    "empty shard": lambda d: next(d.glob("mnist-train*")).write_bytes(b""),
    "labels of another set": lambda d: edit_info(
        d, lambda i: i["splits"][0].update(shardLengths=["99"])
    ),
}


@pytest.mark.parametrize("reason", DAMAGE_SEEN_AT_ONCE)
def test_damage_that_load_reports(reason, damaged):
    DAMAGE_SEEN_AT_ONCE[reason](damaged)
    with pytest.raises(UsageError, match=reason) as caught:
        registry.load("mnist", data_dir=str(damaged.parents[1]))
    assert str(damaged.parent) in str(caught.value)
    assert "python -m jaxvision prepare mnist" in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGE_SEEN_IN_READING)
def test_damage_that_read_reports(damage, damaged):
    DAMAGE_SEEN_IN_READING[damage](damaged)
    splits = registry.load("mnist", data_dir=str(damaged.parents[1]))
    with pytest.raises(UsageError, match="cannot be read") as caught:
        splits.train.read()
    assert str(damaged) in str(caught.value)
    assert "python -m jaxvision prepare mnist" in str(caught.value)
    assert as_set(splits.test.read()) == as_set(DIGITS["test"])


# Sets that cannot be used, said before a download


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("glue", "no Image called 'image'"),
        ("bair_robot_pushing_small", "no Image called 'image'"),
        ("lsun", "no ClassLabel called 'label', no list"),
        ("coco", r"jaxvision-research\[tensorflow\]"),
        ("mnist:9.9.9", "only: 3.0.1"),
    ],
)
def test_a_set_that_cannot_be_used(name, reason, tmp_path, capfd):
    with pytest.raises(UsageError, match=reason) as caught:
        registry.load(name, data_dir=str(tmp_path))
    assert repr(name) in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


# The stand-in for TensorFlow


@pytest.fixture
def tf():
    """What TFDS and its builders import as `tf`."""
    from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow

    return tensorflow


def stands_in(tf) -> bool:
    return "_module" in vars(tf)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_encode_png_keeps_every_pixel(channels):
    pixels = random_images(1, (5, 7, channels))["image"][0]
    with stand_in():
        encoded = tfds.features.Image(shape=pixels.shape).encode_example(pixels)
    decoded = tfds.features.Image(shape=pixels.shape).decode_example_np(encoded)
    np.testing.assert_array_equal(decoded, pixels)


def test_encode_png_keeps_sixteen_bits():
    pixels = np.arange(35, dtype=np.uint16).reshape(5, 7, 1) * 1_800
    image = tfds.features.Image(shape=pixels.shape, dtype=np.uint16)
    with stand_in():
        encoded = image.encode_example(pixels)
    np.testing.assert_array_equal(image.decode_example_np(encoded), pixels)


def test_files_are_read_and_written_as_tensorflow_does(tf, tmp_path):
    with stand_in():
        gfile = tf.io.gfile
        folder = str(tmp_path / "a" / "b")
        gfile.makedirs(folder)
        gfile.makedirs(folder)  # there already: no error
        for name in ("2.txt", "1.txt"):
            with gfile.GFile(f"{folder}/{name}", "w") as file:
                file.write("é")
        with gfile.GFile(f"{folder}/1.txt", "rb") as file:
            assert file.read() == "é".encode()
        with gfile.GFile(f"{folder}/1.txt") as file:
            assert file.read() == "é"
        assert gfile.listdir(folder) == ["1.txt", "2.txt"]
        assert gfile.glob(f"{folder}/*") == [f"{folder}/1.txt", f"{folder}/2.txt"]
        assert gfile.exists(folder) and gfile.isdir(folder)
        assert [path for path, _, _ in gfile.walk(tmp_path / "a")][-1] == folder
        gfile.remove(f"{folder}/1.txt")
        assert not gfile.exists(f"{folder}/1.txt")
        with pytest.raises(tf.errors.NotFoundError):
            gfile.GFile(f"{folder}/1.txt")
        assert tf.compat.as_text(b"x") == tf.compat.as_text("x") == "x"


def test_it_is_gone_afterwards_also_on_error(tf):
    with stand_in():
        assert stands_in(tf)
        assert "tensorflow" not in sys.modules
    assert not stands_in(tf)
    with pytest.raises(ZeroDivisionError), stand_in():
        raise ZeroDivisionError
    assert not stands_in(tf)


def test_a_builder_that_needs_tensorflow_is_told_what_for(tmp_path, monkeypatch):
    def with_tensorflow(self, **arguments):
        from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow as tf

        yield 0, {"image": tf.image.decode_jpeg(b""), "label": 0}

    monkeypatch.setattr(mnist.MNIST, "_generate_examples", with_tensorflow)
    with pytest.raises(UsageError, match=r"tf\.image\.decode_jpeg") as caught:
        registry.load("mnist", data_dir=str(tmp_path))
    assert "pip install 'jaxvision-research[tensorflow]'" in str(caught.value)
    assert nothing_looks_prepared(tmp_path)


def test_asking_for_more_is_harmless_where_the_asker_can_do_without(tf):
    with stand_in():
        assert not hasattr(tf, "ragged")


def test_an_untested_version_of_tfds_is_refused(tf, monkeypatch):
    monkeypatch.setattr(tfds, "__version__", "5.0.0")
    with pytest.raises(UsageError, match=r"5\.0\.0.*4\.9\.10") as caught, stand_in():
        pass
    assert "pip install 'jaxvision-research[tensorflow]'" in str(caught.value)
    assert not stands_in(tf)


def test_the_installed_version_of_tfds_is_a_tested_one():
    assert tfds.__version__ in tensorflow_stand_in.TESTED_WITH
