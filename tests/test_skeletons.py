import pytest

from jaxvision.errors import UsageError
from jaxvision.skeletons import PERSON, by_sides, skeleton


def test_names_say_which_keypoints_are_pairs():
    assert by_sides(("nose", "left_eye", "right_eye")) == (0, 2, 1)
    assert by_sides(("Nose", "Left Ear", "Right Ear")) == (0, 2, 1)
    assert by_sides(("hip.L", "hip.R", "R-knee", "L-knee")) == (1, 0, 3, 2)
    assert by_sides(("top", "right", "bottom", "left")) == (0, 3, 2, 1)
    assert by_sides(("nose", "chin")) is None  # it does not say
    assert by_sides(("left_eye", "nose")) is None  # the other one is missing
    assert by_sides(("left", "right", "left")) is None


def test_a_person_is_that_of_coco():
    from pycocotools.cocoeval import Params

    sigmas = Params("keypoints").kpt_oks_sigmas.tolist()
    assert PERSON.sigmas == pytest.approx(sigmas, rel=1e-12)
    assert len(PERSON.names) == 17 and len(PERSON.limbs) == 19
    pairs = [(PERSON.names[i], PERSON.names[j]) for i, j in enumerate(PERSON.mirrored)]
    assert pairs[0] == ("nose", "nose")
    assert all(a.split("_")[1] == b.split("_")[1] != a for a, b in pairs[1:])
    # Limbs are the same in a mirror.
    limbs = {frozenset(limb) for limb in PERSON.limbs}
    assert {frozenset(PERSON.mirrored[k] for k in limb) for limb in limbs} == limbs


def test_skeletons_that_are_none_are_refused():
    for options, message in (
        ({"limbs": [(0, 2)]}, r"from 0 to 1, got \[\(0, 2\)\]"),
        ({"mirrored": [0, 0]}, "pairs of the 2 keypoints"),
        ({"mirrored": [0]}, "pairs of the 2 keypoints"),
        ({"sigmas": [0.1]}, "sigmas must be 2, one for each keypoint, got 1"),
    ):
        with pytest.raises(UsageError, match=message):
            skeleton(["a", "b"], **options)
    assert skeleton(["a", "b"], mirrored=[1, 0]).mirrored == (1, 0)
