"""The recipe that experiments of keypoints share, and the tables of a face."""

import json

import pytest

from experiments import coco_hrnet_w32, faces_landmarks, pose_recipe
from jaxvision.errors import UsageError
from jaxvision.recipes import recipe_of


@pytest.fixture(scope="module")
def experiment():
    config = coco_hrnet_w32.Config(**pose_recipe.SMOKE)
    return coco_hrnet_w32.build(config)


def test_what_is_learned_is_data_so_that_a_run_is_used_without_its_code(experiment):
    preparation = experiment.test.preparation.save()
    assert preparation["crop"]["name"] == "object_crop" and preparation["original"]
    saved = json.dumps(recipe_of(experiment.task))
    assert "heatmaps" in saved and "elsewhere" not in saved
    assert recipe_of(experiment.show(experiment.classes)) is not None
    assert experiment.task.measures[0].name == "ap"


def test_the_rate_of_the_published_recipe_falls_twice(experiment):
    rate, steps = experiment.optimizer.schedule, experiment.steps
    rates = [float(rate(int(share * steps))) for share in (0.5, 0.9, 0.99)]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5])


def test_the_mirror_image_of_a_face_is_a_face():
    face = faces_landmarks.FACE
    lines = {frozenset(limb) for limb in face.limbs}
    assert {frozenset(face.mirrored[end] for end in limb) for limb in lines} == lines
    # Along the middle of the face every landmark is its own counterpart.
    middle = [k for k, other in enumerate(face.mirrored) if k == other]
    assert middle == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_sets_without_keypoints_are_refused():
    config = faces_landmarks.Config(dataset="synthetic:32x32x3:4")
    with pytest.raises(UsageError, match="has no keypoints, only image, label"):
        faces_landmarks.build(config)
