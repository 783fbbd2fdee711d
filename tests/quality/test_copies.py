"""Finding images that occur more than once."""

import numpy as np
import pytest

from jaxvision.quality import copies


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def scattered():
    """300 directions, of which none is near another."""
    return unit(np.random.default_rng(0).normal(size=(300, 40)))


def test_equal_digests():
    assert copies.same([b"a", b"b", b"a", b"", b"c", b"b", b"a", b""]) == [
        [0, 2, 6],
        [1, 5],
    ]


def test_copies_among_scattered_images(scattered):
    noise = np.random.default_rng(1).normal(size=scattered.shape)
    near = unit(scattered + 0.02 * noise)
    all_of_them = np.concatenate([scattered, near[[5, 17, 123]], near[[17]] + 0.001])
    pairs = copies.similar(unit(all_of_them))
    assert copies.groups(pairs) == [[5, 300], [17, 301, 303], [123, 302]]
    for i, j, correlation in pairs:
        expected = unit(all_of_them)[i] @ unit(all_of_them)[j]
        assert correlation == pytest.approx(float(expected), abs=1e-5)


def test_what_looks_alike_throughout_is_no_copy():
    """A dense family, whose members correlate as copies of scattered images do."""
    rng = np.random.default_rng(2)
    family = unit(rng.normal(size=40) + 0.1 * rng.normal(size=(300, 40)))
    assert (family @ family.T).min() > copies.MIN_CORRELATION
    assert copies.similar(family) == []
    # A copy within the family is still one.
    copied = unit(family[7] + 0.002 * rng.normal(size=40)[None])
    found = copies.similar(np.concatenate([family, copied]))
    assert [pair[:2] for pair in found] == [(7, 300)]


def test_many_copies_of_one_image_are_found_when_they_are_certain(scattered):
    rng = np.random.default_rng(3)
    many = unit(scattered[0] + 0.002 * rng.normal(size=(20, 40)))
    pairs = copies.similar(np.concatenate([scattered, many]))
    (*groups,) = copies.groups(pairs)
    assert sorted(i for group in groups for i in group) == [0, *range(300, 320)]


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_by_its_letter(seed):
    """Families of one to seven relatives, more and less alike."""
    rng = np.random.default_rng(seed)
    parents = rng.normal(size=(80, 30))
    families = [
        parent + rng.uniform(0.005, 0.15) * rng.normal(size=(rng.integers(1, 8), 30))
        for parent in parents
    ]
    vectors = unit(np.concatenate(families))
    correlation = (vectors @ vectors.T).astype(float)
    np.fill_diagonal(correlation, -1)
    nearest = correlation.argmax(axis=1)
    fourth = 1 - np.sort(correlation, axis=1)[:, -4]
    fourth[correlation.max(axis=1) < copies.MIN_CORRELATION] = 1
    wanted = set()
    for i, j in enumerate(nearest):
        value = correlation[i, j]
        stands_out = 1 - value <= copies.RATIO * min(fourth[i], fourth[j])
        if value >= copies.CERTAIN or (value >= copies.MIN_CORRELATION and stands_out):
            wanted.add((min(i, j), max(i, j)))
    assert 20 < len(wanted) < len(vectors) - 20
    assert {pair[:2] for pair in copies.similar(vectors)} == wanted


def test_blocks_do_not_change_what_is_found(scattered, monkeypatch):
    vectors = np.concatenate([scattered, unit(scattered[:9] + 0.001)])
    whole = copies.similar(vectors)
    assert len(whole) == 9
    monkeypatch.setattr(copies, "_BLOCK", 7 * len(vectors))
    blocks = []
    found = copies.similar(vectors, lambda work, count: blocks.append(count) or work)
    assert blocks == [-(-len(vectors) // 7)]
    assert [pair[:2] for pair in found] == [pair[:2] for pair in whole]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_few_images(scattered, count):
    assert copies.similar(scattered[:count]) == []
    if count:
        twice = np.concatenate([scattered[:count], unit(scattered[:1] + 1e-4)])
        assert [pair[:2] for pair in copies.similar(twice)] == [(0, count)]


def test_images_without_contrast_are_no_copies():
    assert copies.similar(np.zeros((10, 40), np.float32)) == []


def test_groups_hang_together():
    pairs = [(3, 9, 1.0), (1, 2, 1.0), (2, 9, 1.0), (4, 5, 1.0)]
    assert copies.groups(pairs) == [[1, 2, 3, 9], [4, 5]]
