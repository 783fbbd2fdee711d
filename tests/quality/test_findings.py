"""From measures and probabilities to findings."""

import numpy as np
import pytest

from jaxvision.quality import findings
from jaxvision.quality.findings import Example, Finding, Sheet
from jaxvision.quality.measures import measure

pytest.importorskip("cleanvision", reason="needs the extra quality")
pytest.importorskip("cleanlab", reason="needs the extra quality")


def texture(seed, height=40, width=40):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 1))
    return noise.astype(np.uint8)


def sheet(images, train=None, labels=None):
    train = len(images) if train is None else train
    return Sheet(
        sizes={"train": train, "test": len(images) - train},
        measures=measure(images.__getitem__, len(images)),
        labels=np.zeros(len(images), int) if labels is None else np.array(labels),
    )


def found(*arguments, **options):
    """`{kind: [examples of each finding as text]}`, and the kinds that are common."""
    result, common = findings.find(sheet(*arguments, **options))
    kinds: dict[str, list[str]] = {}
    for finding in result:
        kinds.setdefault(finding.kind, []).append(", ".join(map(str, finding.examples)))
    return kinds, common


def test_an_ordinary_set_has_no_findings():
    assert found([texture(i) for i in range(60)], train=40) == ({}, {})


def test_odd_images():
    images = [texture(i) for i in range(60)]
    images[3] = np.full((40, 40, 1), 90, np.uint8)
    images[17] //= 8
    images[31][8:] = images[31][:, 8:] = 255
    images[44] = texture(44, 400, 400)
    images[52] = texture(52, 15, 110)
    kinds, common = found(images, train=50)
    kinds.pop("blurred", None)  # noise is so alike in sharpness that any border counts
    assert kinds == {
        "blank": ["train 3"],
        "dark": ["train 17"],
        "bright": ["train 31"],
        "odd_size": ["train 44", "test 2"],  # all others are of one size
        "odd_shape": ["test 2"],
    }
    assert common == {}


def test_blurred_by_what_is_usual_in_the_set():
    import cv2

    images = [texture(i) for i in range(60)]
    images[7] = cv2.GaussianBlur(images[7], (0, 0), 1.0)[..., None]
    assert found(images)[0] == {"blurred": ["train 7"]}
    # Where all are as soft, none is.
    soft = [cv2.GaussianBlur(image, (0, 0), 1.0)[..., None] for image in images]
    soft[7] = cv2.GaussianBlur(texture(7), (0, 0), 1.0)[..., None]
    assert found(soft) == ({}, {})


def test_what_holds_for_many_is_how_the_set_is():
    images = [texture(i) // (8 if i < 20 else 1) for i in range(60)]
    kinds, common = found(images)
    assert kinds == {}
    assert common == {"dark": pytest.approx(1 / 3)}


def test_copies_within_and_across_splits():
    images = [texture(i) for i in range(60)]
    images[10] = images[4].copy()
    images[55] = images[20].copy()  # of the test split
    rng = np.random.default_rng(1)
    noisy = images[30] + rng.normal(0, 8, images[30].shape)
    images[33] = np.clip(noisy, 0, 255).astype(np.uint8)
    images[1] = images[2] = np.zeros((40, 40, 1), np.uint8)  # blank, and no copies
    labels = [0] * 60
    labels[33] = 1
    result, _ = findings.find(sheet(images, train=50, labels=labels))
    copied = {
        finding.examples: (finding.kind, finding.reason)
        for finding in result
        if finding.kind != "blank"
    }
    assert copied.keys() == {
        (Example("train", 4), Example("train", 10)),
        (Example("train", 20), Example("test", 5)),
        (Example("train", 30), Example("train", 33)),
    }
    kind, reason = copied[Example("train", 20), Example("test", 5)]
    assert kind == "duplicate" and reason == "the same pixels, in train and test"
    kind, reason = copied[Example("train", 30), Example("train", 33)]
    assert kind == "near_duplicate" and reason.endswith(", with different labels")


def test_a_copy_of_a_copy_belongs_to_its_group():
    """Equal images are compared with others once, and all of them are reported."""
    images = [texture(i) for i in range(30)]
    images[8] = images[3].copy()
    images[9] = np.clip(images[3].astype(int) + 6, 0, 255).astype(np.uint8)
    kinds, _ = found(images)
    assert kinds == {
        "duplicate": ["train 3, train 8"],
        "near_duplicate": ["train 3, train 9"],
    }


@pytest.mark.parametrize(
    ("examples", "labels", "wanted"),
    [
        ("train 1", [0] * 6, "train 1"),
        ("test 1", [0] * 6, ""),
        ("train 1, train 2, train 3", [0] * 6, "train 2, train 3"),
        ("train 1, train 2, test 0", [0] * 6, "train 1, train 2"),
        ("train 1, train 2", [0, 1, 2, 0, 0, 0], "train 1, train 2"),
        ("test 0, test 1", [0] * 6, ""),
    ],
)
def test_which_training_images_are_left_out(examples, labels, wanted):
    parts = (example.split() for example in examples.split(", "))
    group = tuple(Example(split, int(row)) for split, row in parts)
    whole = Sheet({"train": 4, "test": 2}, None, np.array(labels))
    left = findings.left_out(Finding("duplicate", group, 1, ""), whole)
    assert ", ".join(map(str, left)) == wanted


def test_wrong_labels():
    """1 % of labels changed, under a model that is right nine times out of ten."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 2000)
    logits = 4.0 * np.eye(5)[truth] + rng.normal(size=(2000, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = truth.copy()
    wrong = rng.permutation(2000)[:20]
    given[wrong] = (given[wrong] + 1) % 5
    names = ("ant", "bee", "cat", "dog", "eel")
    result, judgement = findings.labels(given, probabilities.astype(np.float32), names)
    rows = [finding.examples[0].row for finding in result]
    assert len(set(rows) & set(wrong.tolist())) >= 16
    assert len(rows) <= 40
    assert all(finding.examples[0].split == "train" for finding in result)
    scores = [finding.score for finding in result]
    assert scores == sorted(scores)
    first = result[0]
    assert first.suggested == truth[rows[0]]
    assert first.reason.startswith(f"given {names[given[rows[0]]]} (")
    assert f"looks like {names[truth[rows[0]]]} (0.9" in first.reason
    certain = {f.examples[0].row for f in result if f.certain}
    assert len(certain) >= 10
    assert len(certain - set(wrong.tolist())) <= 1
    assert judgement.expected <= findings.FALSE * judgement.improbable


@pytest.mark.parametrize("sharpness", [0.7, 1.0, 2.0])
def test_a_model_that_only_finds_examples_hard_decides_nothing(sharpness):
    """All labels are right, and many improbable, for models more or less sure."""
    rng = np.random.default_rng(1)
    logits = 2.5 * rng.normal(size=(4000, 5))
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((4000, 1)) > likely.cumsum(axis=1)).sum(axis=1).clip(max=4)
    stated = np.exp(sharpness * logits)
    stated /= stated.sum(axis=1, keepdims=True)
    result, judgement = findings.labels(truth, stated, tuple("abcde"))
    assert len(result) > 100, "many are doubted"
    assert sum(finding.certain for finding in result) <= 2
    assert judgement.temperature == pytest.approx(sharpness, rel=0.05)
