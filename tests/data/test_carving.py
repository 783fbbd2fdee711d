"""A validation split is the same for every run, in proportion, exact, and lazy."""

import pickle

import numpy as np
import pytest

from jaxvision.data.carving import carve, stratified, train_and_validation
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError


def unequal(counts=(50, 30, 20)) -> tuple[Source, list[int]]:
    """A source whose images hold their own index, and a list that counts its reads."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    labels = np.random.RandomState(0).permutation(labels)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    reads: list[int] = []

    def read():
        reads.append(1)
        return {"image": images, "label": labels}

    names = tuple(map(str, range(len(counts))))
    return Source("set:train", len(labels), (1, 1, 1), names, read), reads


def test_a_declared_validation_split_is_taken_whole_and_else_a_share():
    source, reads = unequal()
    test, declared = (source._replace(name=f"set:{split}") for split in "ab")
    assert train_and_validation(Splits(source, test, declared), 20) == (
        source,
        declared,
    )
    train, validation = train_and_validation(Splits(source, test), 0.2, seed=3)
    for part, same in zip((train, validation), carve(source, 20, seed=3), strict=True):
        assert part.name == same.name
        assert part.read()["image"].tolist() == same.read()["image"].tolist()
    assert (train.choice, validation.choice) == (
        "",
        "20 of 100 examples at random (seed 3), since no validation split is declared "
        "beside a test split",
    )
    assert len(reads) == 2


def test_parts_are_disjoint_complete_and_in_order():
    source, _ = unequal()
    train, validation = (part.read()["image"].ravel() for part in carve(source, 20))
    assert sorted([*train, *validation]) == list(range(100))
    assert list(train) == sorted(train)
    assert list(validation) == sorted(validation)


def test_images_keep_their_labels():
    source, _ = unequal()
    labels = source.read()["label"]
    for part in carve(source, 20):
        data = part.read()
        np.testing.assert_array_equal(data["label"], labels[data["image"].ravel()])


def test_every_class_is_held_out_in_proportion():
    source, _ = unequal()
    train, validation = carve(source, 20)
    assert list(np.bincount(validation.read()["label"])) == [10, 6, 4]
    assert list(np.bincount(train.read()["label"])) == [40, 24, 16]


@pytest.mark.parametrize("size", [1, 7, 33, 99])
def test_size_is_exact_and_no_class_is_off_by_one_example(size):
    source, _ = unequal()
    train, validation = carve(source, size)
    held_out = np.bincount(validation.read()["label"], minlength=3)
    assert (train.size, validation.size) == (100 - size, size)
    assert held_out.sum() == size
    assert len(train.read()["label"]) == 100 - size
    assert np.all(np.abs(held_out - size * np.array([0.5, 0.3, 0.2])) < 1)


def test_a_fraction_is_rounded_to_examples():
    source, _ = unequal()
    assert carve(source, 0.2)[1].size == 20
    assert carve(source, 0.254)[1].size == 25


def test_choice_depends_on_the_seed_alone():
    source, _ = unequal()
    chosen = [tuple(carve(source, 20, seed=s)[1].read()["label"]) for s in (0, 0, 1)]
    chosen_images = [
        tuple(carve(source, 20, seed=s)[1].read()["image"].ravel()) for s in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1]
    assert chosen_images[0] == chosen_images[1] != chosen_images[2]


def test_choice_is_frozen():
    """Published numbers depend on it: a change here must be meant."""
    mask = stratified(np.arange(12) % 3, 4, seed=0)
    assert np.flatnonzero(mask).tolist() == [1, 3, 6, 11]


def test_nothing_is_read_before_and_nothing_twice():
    source, reads = unequal()
    train, validation = carve(source, 20)
    assert not reads
    for part in (train, validation, train):
        part.read()
    assert len(reads) == 1


def test_a_reader_cannot_spoil_the_data_of_the_next():
    train, _ = carve(unequal()[0], 20)
    data = train.read()
    with pytest.raises(ValueError, match="read-only"):
        data["image"][0] = 0
    del data["label"]
    assert set(train.read()) == {"image", "label"}


class Files:
    """Encodes the i-th image as its own index."""

    def __call__(self, i: int) -> bytes:
        assert type(i) is int
        return bytes([i])


def test_labels_and_files_of_the_parts_are_theirs():
    source, reads = unequal()
    labels = source.read()["label"]
    reads.clear()
    source = source._replace(targets=lambda: {"label": labels}, encoded=Files())
    rest, validation = carve(source, 20)
    for part in (rest, validation, *carve(rest, 7)):
        encoded = pickle.loads(pickle.dumps(part.encoded))
        files = [encoded(i)[0] for i in range(part.size)]
        assert files == [part.encoded(i)[0] for i in range(part.size)]
        assert part.targets()["label"].tolist() == labels[files].tolist()
        assert not reads
    assert files == carve(rest, 7)[1].read()["image"].ravel().tolist()
    assert (
        part.targets()["label"].tolist() == carve(rest, 7)[1].read()["label"].tolist()
    )


def test_what_the_source_has_not_its_parts_have_not():
    for part in carve(unequal()[0], 20):
        assert part.targets is None
        assert part.encoded is None


def test_a_part_can_be_carved_again():
    train, _ = carve(unequal()[0], 20)
    rest, half = carve(train, 0.5)
    assert (rest.size, half.size) == (40, 40)
    assert half.name == "set:train/train/validation"


@pytest.mark.parametrize(
    "validation", [0, -1, 100, 101, 0.0, 1.0, 1.5, -0.1, 0.001, float("nan"), 20.0]
)
def test_an_empty_part_is_refused_naming_the_value_and_the_range(validation):
    with pytest.raises(UsageError) as caught:
        carve(unequal()[0], validation)
    assert repr(validation) in str(caught.value)
    assert "from 1 to 99" in str(caught.value)
    assert "set:train" in str(caught.value)
