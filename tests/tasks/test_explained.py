"""What of a network's outputs can be explained: what is chosen, and its number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import tasks
from jaxvision.errors import UsageError

SCORES = np.zeros((2, 4, 3), np.float32)
"""[2,4,3]: six pixels are of class 0, two of class 1 and none of class 2."""
SCORES[..., 0] = 1
SCORES[0, 2:, 1] = (3, 5)
SCORES[..., 2] = -2


def test_of_classes_it_is_the_one_that_is_predicted_or_asked_for():
    explained = tasks.scores_of_classes(jax.nn.softmax)
    logits = np.float32([[0, 2, 1], [4, 5, 4]])
    part = explained.choose({"logits": logits[0]}, (2, 2))
    assert part.number == 1 and part.region.all()
    assert explained.words(part, "abc") == "b"
    other = explained.choose({"logits": logits[0]}, (2, 2), number=2)
    np.testing.assert_array_equal(explained.score({"logits": logits}, other), [1, 4])
    np.testing.assert_allclose(
        explained.share({"logits": logits}, other),
        jax.nn.softmax(logits)[:, 2],
        rtol=1e-6,
    )


def test_of_maps_it_is_the_mean_over_what_was_given_to_a_class():
    explained = tasks.scores_of_regions()
    own, batch = {"logits": SCORES}, {"logits": jnp.stack([SCORES, 2 * SCORES])}

    def chosen(**asked):
        part = explained.choose(own, (2, 4), **asked)
        return part, explained.score(batch, part), explained.words(part, "abc")

    # Class 0 has more than half: it lies behind the others.
    part, scores, words = chosen()
    assert part.number == 1 and part.region.sum() == 2
    np.testing.assert_allclose(scores, [4, 8])
    assert words == "b, over the 2 pixels that are given to it"
    # The region stays, whatever becomes of the image.
    np.testing.assert_allclose(
        explained.score({"logits": batch["logits"] - 9}, part)[0], -5
    )
    part, scores, words = chosen(pixel=(0, 3))
    assert part.number == 1 and scores[0] == 5 and words == "b, at row 0, column 3"
    assert chosen(pixel=(0, 3), number=2)[1][0] == -2
    part, scores, words = chosen(number=2)
    assert part.region.all() and scores[0] == -2
    assert words == "c, over the whole image"
    share = explained.share(batch, chosen(number=0)[0])
    few = SCORES.argmax(-1) == 0
    np.testing.assert_allclose(
        share[0], jax.nn.softmax(SCORES)[..., 0][few].mean(), rtol=1e-5
    )


def raw(detector, classes, **sure):
    """Outputs of a network for an image of 64×64, by which it sees nothing, but for
    what is `sure`."""
    sides = {"p3": 8, "p4": 4, "p5": 2}
    maps = {n: np.zeros((s, s, 1), np.float32) for n, s in sides.items()}
    anchors = sum(s * s for s in sides.values())
    outputs = maps | {
        "class_logits": np.full((anchors, classes), -6, np.float32),
        "box_codes": np.zeros((anchors, 4), np.float32),
        "objectness": np.full(anchors, 2, np.float32),
    }
    for place, (k, logit) in sure.values():
        outputs["class_logits"][place, k] = logit
    return outputs


def test_of_objects_it_is_the_score_of_the_surest_at_its_anchor():
    detector = tasks.yolox()
    explained = tasks.scores_of_objects(detector)
    # Cells of 8 pixels: number 9 is in row 1, column 1; 64 is the first of 16 pixels.
    outputs = raw(detector, 2, a=(9, (1, 3.0)), b=(64, (0, 1.0)))
    part = explained.choose(outputs, (64, 64))
    assert (part.number, part.place) == (1, 9)
    rows, columns = np.nonzero(part.region)
    # Codes of 0 are a box of the size of the cell around its corner.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 4, 11)
    assert explained.words(part, "ab") == "b, in rows 4 to 11 and columns 4 to 11"
    batch = {k: np.stack([v, 0 * v]) for k, v in outputs.items()}
    p = np.asarray(jax.nn.sigmoid(3.0) * jax.nn.sigmoid(2.0))
    np.testing.assert_allclose(explained.share(batch, part), [p, 0.25], rtol=1e-5)
    np.testing.assert_allclose(
        explained.score(batch, part), np.log([p / (1 - p), 1 / 3]), rtol=1e-5
    )
    assert explained.choose(outputs, (64, 64), number=0).place == 64
    assert explained.choose(outputs, (64, 64), pixel=(1, 1)).place == 64


@pytest.mark.slow
def test_it_is_what_detections_are_found_by():
    """The score and the box that a part stands for are those that are predicted."""
    detector, draws = tasks.fcos(), np.random.default_rng(0)
    outputs = raw(detector, 3)
    outputs["centredness"] = outputs.pop("objectness")
    for name in ("class_logits", "box_codes", "centredness"):
        shape = (len(outputs[name]) + 2, *outputs[name].shape[1:])
        outputs[name] = draws.normal(size=shape).astype(np.float32)
    outputs["box_codes"] = 1 + np.abs(outputs["box_codes"])  # distances to the sides
    outputs |= dict.fromkeys(("p6", "p7"), np.zeros((1, 1, 1), np.float32))
    explained = tasks.scores_of_objects(detector)
    part = explained.choose(outputs, (64, 64))
    batch = {name: each[None] for name, each in outputs.items()}
    levels = detector.levels(batch, (64, 64))
    found = detector.decode(outputs, levels, jnp.float32([0, 0, 64, 64]))
    assert found.classes[0] == part.number
    share = explained.share(batch, part)[0]
    np.testing.assert_allclose(share, found.scores[0], rtol=1e-6)
    rows, columns = np.nonzero(np.asarray(part.region))
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.asarray(found.boxes[0]) - np.array(seen)).max() <= 0.5


def test_what_there_is_not_is_named():
    classes = tasks.scores_of_classes(jax.nn.softmax)
    regions = tasks.scores_of_regions()
    objects = tasks.scores_of_objects(tasks.yolox())
    regions_first = tasks.yolox()._replace(scores=None)
    staged = tasks.scores_of_objects(regions_first)
    vector, empty = {"logits": SCORES[0, 0]}, raw(tasks.yolox(), 2)
    for call, message in (
        (lambda: classes.choose({"maps": SCORES}, (2, 4)), "has no logits, but maps"),
        (lambda: classes.choose({"logits": SCORES}, (2, 4)), "a score for each class:"),
        (lambda: classes.choose(vector, (2, 4), number=3), "not among the 3"),
        (lambda: classes.choose(vector, (2, 4), pixel=(0, 0)), "leave the pixel out"),
        (lambda: regions.choose(vector, (2, 4)), "of each class for each pixel"),
        (lambda: regions.choose({"logits": SCORES}, (4, 8)), "has 4×8 pixels"),
        (
            lambda: regions.choose({"logits": SCORES}, (2, 4), pixel=(2, 0)),
            "row 2, column 0 is not in the image of 2×4",
        ),
        (lambda: objects.choose(vector, (64, 64)), "unknown output of the model 'p3'"),
        (lambda: objects.choose(empty, (64, 64), number=2), "not among the 2"),
        (lambda: staged.choose(empty, (64, 64)), "take a detector of one stage"),
        (lambda: objects.choose(empty, (64, 64), pixel=(64, 0)), "not in the image"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
