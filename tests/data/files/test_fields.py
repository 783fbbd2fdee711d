"""A field is read by what it means, however it is written, or refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvision.data.files import fields

NONE = [None, True, [1], {}, "", "x", "1_0", "0x1", "nan", "inf", math.inf, 10**400]


@pytest.mark.parametrize("value", [32, 32.0, "32", " 32 ", "32.0", "3.2e1"])
def test_numbers(value):
    assert fields.number(value) == fields.whole(value) == 32
    assert type(fields.whole(value)) is int


@pytest.mark.parametrize("value", NONE)
def test_what_is_no_number(value):
    for meaning in (fields.number, fields.whole):
        with pytest.raises(ValueError, match="is not a number"):
            meaning(value)


def test_halves_are_not_whole():
    assert fields.number("0.5") == 0.5
    with pytest.raises(ValueError, match=r"'0\.5' is not a whole number"):
        fields.whole("0.5")


@given(st.integers())
def test_whole_numbers_are_exact(value):
    try:
        assert fields.whole(value) == value
    except ValueError:
        assert abs(value) > 10**300


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        ((1, 1.0, True, "1", "1.0", "true", "Yes", " YES ", "on", "y"), True),
        ((0, 0.0, False, "0", "0.0", "False", "No", "off", "n"), False),
        ((None, "", "Unspecified", "null", "~", "none"), False),
    ],
)
def test_truths(values, meant):
    assert [fields.truth(value) for value in values] == [meant] * len(values)


@pytest.mark.parametrize("value", [2, -1, 0.5, "2", "perhaps", [1], [], {}, math.nan])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(ValueError, match="neither true nor false"):
        fields.truth(value)


def test_ids_are_one_if_they_are_one_number():
    assert {fields.identity(value) for value in (7, 7.0, "7", " 7")} == {7}
    assert fields.identity("007") == "007"
    assert fields.identity("7.jpg") == "7.jpg"
    assert fields.identity("9" * 30) == "9" * 30
    with pytest.raises(ValueError, match="not a whole number"):
        fields.identity(7.5)


def test_names_have_one_spelling():
    assert fields.name("cafe\u0301 ") == fields.name("caf\xe9") == "caf\xe9"
    assert fields.name(7) == fields.name(7.0) == "7"
    for value in ("caf\udce9", "a\tb", "a\nb", "\x1b[2J"):
        with pytest.raises(ValueError, match="is no name"):
            fields.name(value)
    for value in (0.5, True, None, ["a"]):
        with pytest.raises(ValueError, match="neither a name nor a whole number"):
            fields.name(value)


def test_labels_are_names_or_numbers():
    given = ["10.0", "10.", 10, 10.0, "10"]
    assert {fields.label(value) for value in given} == {"10"}
    assert fields.label("0.50") == "0.50"
    assert fields.label("v1.0") == "v1.0"


def test_messages_stay_short():
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, "x" * 10_000, [*range(10_000)], 10**4_000):
        assert len(fields.shown(value)) < 200
