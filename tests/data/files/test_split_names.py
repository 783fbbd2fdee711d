"""The names of splits: what is read, what is refused, and what is no split at all."""

import pytest

from jaxvision.data.files import split_names
from jaxvision.errors import UsageError


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TEST", "test"),
        ("testing", "test"),
        ("Validation", "validation"),
        ("valid", "validation"),
        ("val2017", None),
        ("cat", None),
    ],
)
def test_what_is_read(name, role):
    assert split_names.role(name) == role


@pytest.mark.parametrize(
    "name",
    [
        "val2017",
        "test_images",
        "TestSet",
        "testset",
        "PublicTest",
        "trainval",
        "hold-out",
        "held_out",
        "trainA",
        "obj_train_data",
        "eval",
        "val_256",
        "Testing-2",
    ],
)
def test_what_looks_like_a_split(name):
    assert split_names.mentions(name)
    assert split_names.resembles(name)


@pytest.mark.parametrize(
    "name",
    ["cat", "invalid", "testament", "strain", "public", "images", "a", "2017", ""],
)
def test_what_tells_of_no_split(name):
    assert not split_names.mentions(name)
    assert not split_names.resembles(name)


@pytest.mark.parametrize("name", ["test_tube", "train station", "bullet-train"])
def test_a_class_may_have_a_word_for_a_split_in_its_name(name):
    assert not split_names.resembles(name)


def test_files_of_one_set_differ_in_the_split_only():
    family = split_names.family
    assert family("instances_train2017") == ("train", "instances_*2017")
    assert family("instances_Val2017") == ("validation", "instances_*2017")
    assert family("instances_default") == (None, "instances_default")
    assert family("train_and_test") == (None, "*_and_*")
    assert family("training") == ("train", "*")


def test_of_what_is_declared_the_test_comes_first():
    def choose(answered=lambda split: True, **there):
        return split_names.choose(there, describe=str, answered=answered)

    assert choose(train="a", validation="b", test="c") == (
        ("c", "b"),
        ("c, as declared", "b, as declared"),
    )
    assert choose(lambda split: split != "c", validation="b", test="c") == (
        ("b",),
        ("b, as declared; c has no annotations of these classes",),
    )
    assert choose(lambda split: False, test="c") == (
        (),
        ("c has no annotations of these classes",),
    )
    assert choose(train="a") == ((), ("nothing declares a test split",))


def test_two_of_one_split_are_named():
    items = [(name, split_names.role(name), name) for name in ("train", "val", "Valid")]
    assert split_names.unique(items[:2], "") == {"train": "train", "validation": "val"}
    with pytest.raises(UsageError, match="set has val and Valid, which are all valid"):
        split_names.unique(items, "the set has")
