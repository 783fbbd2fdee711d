"""The recipe that experiments of keypoints share, and the tables of a face."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import (
    coco_hrnet_w32,
    faces_landmarks,
    mouse_simplebaseline,
    pose_recipe,
)
from jaxvision import models, pretrained, runs
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


def test_an_encoder_of_colour_images_serves_grey_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in ("train", "test"):
        lines = ["file,x0,y0,x1,y1"]
        for number in range(8):
            name = f"{number}.png"
            path = tmp_path / "mice" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (32, 32), 20 * number).save(path)
            lines.append(f"{name},5,6,20,{number}")
        (tmp_path / f"mice/{split}.csv").write_text("\n".join(lines))
    name = "mobilenet_v3_small"
    shapes = models.shapes.variables(name)
    pretrained.save(
        tmp_path / "weights.safetensors",
        name,
        jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes),
    )
    config = mouse_simplebaseline.Config(
        dataset=f"landmarks:{tmp_path / 'mice'}",
        weights=str(tmp_path / "weights.safetensors"),
        encoder=name, channels=8, size=(32, 32), batch_size=4, epochs=1,
    )  # fmt: skip
    start = runs.initial.of_experiment(mouse_simplebaseline.build(config))
    kernel = start.variables["params"]["backbone"]["features.0.0"]["kernel"]
    assert kernel.shape == (3, 3, 1, 16)
    np.testing.assert_array_equal(kernel, 3)
