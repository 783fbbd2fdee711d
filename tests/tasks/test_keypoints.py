"""The task of keypoints: what localisers say of maps and numbers, learned and found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import recipes, tasks
from jaxvision.errors import UsageError
from jaxvision.metrics import coco, landmarks
from jaxvision.metrics.landmarks import between
from jaxvision.recipes import recipe_of
from jaxvision.types import Forward

SIZE = (32, 48)
MAPS = (8, 12)
K = 3
HEATMAPS = tasks.heatmaps(1.5)
SIGMAS = (0.1, 0.2, 0.3)
TASK = tasks.keypoints(K, HEATMAPS, norm=between(0, 1), threshold=0.1, sigmas=SIGMAS)


def make_batch():
    """Four objects: one with all keypoints, one that lacks one, one with none, and one
    that is padding."""
    random = np.random.default_rng(0)
    keypoints = np.zeros((4, 1, K, 3), np.float32)
    keypoints[..., 0] = random.uniform(4, 44, (4, 1, K))
    keypoints[..., 1] = random.uniform(4, 28, (4, 1, K))
    keypoints[..., 2] = 2
    keypoints[1, 0, 2] = 0
    keypoints[2] = 0
    return {
        "image": jnp.zeros((4, *SIZE, 3)),
        "keypoints": jnp.asarray(keypoints),
        "mask": jnp.array([True, True, True, False]),
    }


BATCH = make_batch()
SAID = jnp.asarray(np.random.default_rng(1).normal(size=(4, *MAPS, K)), jnp.float32)


def forward_to(outputs):
    return Forward(lambda images, **_: (outputs, {}), jnp.int32(0), {})


def of_release(said, keypoints):
    """Loss and places by the definitions of the public release, a loop for each."""
    count, height, width, number = said.shape
    loss, points = np.zeros(count), np.zeros((count, number, 2))
    y, x = np.mgrid[:height, :width]
    for i in range(count):
        for k in range(number):
            target = np.zeros((height, width))
            centre = np.floor(keypoints[i, 0, k, :2] / 4 - 0.5 + 0.5)
            square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
            near = np.maximum(abs(x - centre[0]), abs(y - centre[1])) <= 4.5
            target[near] = np.exp(-square / (2 * 1.5**2))[near]
            seen = keypoints[i, 0, k, 2] > 0
            errors = (said[i, ..., k] - target) ** 2 * seen
            loss[i] += 0.5 * errors.mean() / number
            row, column = np.unravel_index(said[i, ..., k].argmax(), (height, width))
            place = np.array([column, row], float)
            for axis, (at, most) in enumerate(((column, width), (row, height))):
                if 0 < at < most - 1:
                    step = np.eye(2, dtype=int)[axis][::-1]
                    after, before = (
                        said[i, row + s * step[0], column + s * step[1], k]
                        for s in (1, -1)
                    )
                    place[axis] += 0.25 * np.sign(after - before)
            points[i, k] = (place + 0.5) * 4
    return loss, points


@pytest.fixture(scope="module")
def found():
    """Of the task, in one program."""

    def everything(said, batch):
        forward = forward_to({"heatmaps": said})
        predicted = TASK.predict(forward, batch, keys=None)
        return (
            TASK.loss(forward, batch, key=None)[0],
            TASK.update(forward, batch, keys=None),
            predicted,
            TASK.difficulty(batch, predicted),
        )

    return jax.jit(everything)(SAID, BATCH)


def test_heatmaps_are_learned_and_read_as_in_the_release(found):
    (total, weight), _, predicted, _ = found
    loss, points = of_release(np.float64(SAID), np.asarray(BATCH["keypoints"]))
    # The third object has no keypoint, and the last is padding.
    assert float(weight) == 2
    assert float(total) == pytest.approx(loss[:2].sum(), rel=1e-5)
    np.testing.assert_allclose(predicted["points"], points, rtol=1e-6)
    np.testing.assert_array_equal(predicted["scores"], np.max(SAID, axis=(1, 2)))


def test_what_is_measured_is_of_the_labelled(found):
    _, (sums, rows), predicted, difficulty = found
    kept = {name: np.asarray(array)[:3] for name, array in rows.items()}
    got = TASK.compute(jax.tree.map(np.asarray, sums), kept)
    true = np.asarray(BATCH["keypoints"])[:3, 0]
    errors, relative = [], []
    for points, truth in zip(np.asarray(predicted["points"]), true, strict=False):
        norm = np.linalg.norm(truth[0, :2] - truth[1, :2])
        for k in np.flatnonzero(truth[:, 2] > 0):
            errors.append(np.linalg.norm(points[k] - truth[k, :2]))
            relative.append(errors[-1] / norm)
    assert got["mean_error"] == pytest.approx(np.mean(errors))
    assert got["pck"] == pytest.approx(np.mean(np.array(relative) <= 0.1))
    of_objects = np.mean(relative[:3]), np.mean(relative[3:])
    assert got["nme"] == pytest.approx(np.mean(of_objects))
    assert got["loss"] == pytest.approx(float(sums["loss"]) / 2)
    assert float(difficulty[2]) == 0 < float(difficulty[0])


def test_objects_of_an_image_are_held_against_each_other():
    """As where they are found together: a sure guess that is bad stands before one that
    is good."""
    random = np.random.default_rng(0)
    true = np.concatenate(
        [random.uniform(5, 95, (12, K, 2)), np.full((12, K, 1), 2)], axis=-1
    )
    rows = {
        "true": true,
        "found": true[..., :2] + random.normal(0, 8, (12, K, 2)),
        "scores": random.uniform(0, 1, (12, K)),
        "boxes": np.tile([0.0, 0, 100, 100], (12, 1)),
        "origin": np.repeat([5, 9, 2], 4),
    }
    got = landmarks.average_precision(rows, SIGMAS)
    classes = np.zeros((3, 4), int)
    together = {
        "classes": classes,
        "found_classes": classes,
        "found_scores": rows["scores"].mean(-1).reshape(3, 4),
        "keypoints": true.reshape(3, 4, K, 3),
        "found_keypoints": rows["found"].reshape(3, 4, K, 2),
        **dict.fromkeys(("boxes", "found_boxes"), rows["boxes"].reshape(3, 4, 4)),
    }
    expected = coco.compute_others(together, 1, sigmas=SIGMAS)
    assert 0.2 < got["ap"] < 0.9
    for name in ("ap", "ap50", "ap75", "ar_20"):
        assert got[name] == expected[f"keypoint_{name}"]
    exact = landmarks.average_precision({**rows, "found": true[..., :2]}, SIGMAS)
    assert exact["ap"] == 1


TARGETS = BATCH["keypoints"][:2, 0]


def bumps(keypoints):
    """Maps [B,h,w,K] whose soft-argmax is where the keypoints are: in each direction
    two neighbouring cells share the mass."""
    maps = np.full((len(keypoints), *MAPS, K), -40.0, np.float32)
    for (i, k), (x, y) in zip(
        np.ndindex(keypoints.shape[:2]), keypoints.reshape(-1, 3)[:, :2], strict=True
    ):
        column, row = x / 4 - 0.5, y / 4 - 0.5
        for r in (int(row), int(row) + 1):
            for c in (int(column), int(column) + 1):
                share = (1 - abs(row - r)) * (1 - abs(column - c))
                maps[i, r, c, k] = np.log(max(share, 1e-17))
    return jnp.asarray(maps)


RIGHT = {
    "soft_argmax": (tasks.soft_argmax(), bumps(np.asarray(TARGETS))),
    "coordinates": (
        tasks.coordinates(spread=0.5),
        ((TARGETS[..., :2] / jnp.float32([[[48, 32]]]) - 0.5) / 0.5).reshape(2, -1),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_outputs_that_are_right_cost_nothing_and_are_found(name):
    localiser, said = RIGHT[name]
    labelled = np.asarray(TARGETS)[..., 2] > 0

    @jax.jit
    def everything(said):
        def wrong(said):
            return localiser.losses(said, TARGETS + 1.0, SIZE)[0].sum()

        right = localiser.losses(said, TARGETS, SIZE)
        return right, localiser.decode(said, SIZE), jax.grad(wrong)(said)

    (totals, weights), (points, _), slopes = everything(said)
    np.testing.assert_allclose(totals, 0, atol=1e-5)
    np.testing.assert_array_equal(weights, [3, 2])
    np.testing.assert_allclose(
        np.asarray(points)[labelled], np.asarray(TARGETS)[labelled, :2], atol=1e-3
    )
    assert np.isfinite(slopes).all() and np.any(slopes)


def test_a_mirror_image_says_the_same():
    counterparts = (1, 0, 2)
    for localiser, said in (*RIGHT.values(), (HEATMAPS, SAID)):
        merge = tasks.mean_with_mirror_image(localiser, counterparts)
        order = np.array(counterparts)
        if localiser.output == "heatmaps":
            turned = said[:, :, ::-1, order]
        else:
            pairs = np.asarray(said).reshape(2, K, 2)[:, order] * np.array([-1, 1])
            turned = jnp.asarray(pairs.reshape(2, -1), jnp.float32)
        both = [{localiser.output: said}, {localiser.output: turned}]
        merged = jax.jit(merge)(both)[localiser.output]
        points, same = (localiser.decode(each, SIZE)[0] for each in (said, merged))
        np.testing.assert_allclose(same, points, rtol=1e-5)
    # Cells of the release stand for their first pixel: a whole cell is between them.
    release = tasks.heatmaps(place=1 / 8)
    back = release.turned(SAID[:, :, ::-1], jnp.arange(K))
    np.testing.assert_array_equal(back[:, :, 1:], SAID[:, :, :-1])


def test_between_two_guesses_is_the_mean_place():
    moved = TARGETS + jnp.float32([[[6, 4, 0]]])
    soft = tasks.soft_argmax(2.0)
    maps = [bumps(np.asarray(each)) / 2 for each in (TARGETS, moved)]
    points, _ = soft.decode(soft.mean(*maps), SIZE)
    labelled = np.asarray(TARGETS)[..., 2] > 0
    middle = np.asarray(TARGETS + moved)[..., :2] / 2
    np.testing.assert_allclose(np.asarray(points)[labelled], middle[labelled], atol=0.1)


def test_a_task_is_data():
    merge = tasks.mean_with_mirror_image(HEATMAPS, (1, 0, 2))
    for task in (TASK, tasks.with_views(TASK, tasks.mirrored, merge)):
        made = recipes.TASKS.make(recipe_of(task))
        assert recipe_of(made) == recipe_of(task) is not None


def bad(name):
    images, keypoints = BATCH["image"], BATCH["keypoints"]
    batch, outputs = BATCH, {"heatmaps": SAID}
    if name == "two objects":
        batch = {**BATCH, "keypoints": jnp.concatenate([keypoints] * 2, axis=1)}
    elif name == "other keypoints":
        batch = {**BATCH, "keypoints": keypoints[:, :, :2]}
    elif name == "other outputs":
        outputs = {"heatmaps": SAID[..., :2]}
    elif name == "no maps":
        outputs = {"logits": SAID[:, 0, 0]}
    elif name == "maps that do not divide":
        batch = {**BATCH, "image": images[:, :31]}
    return outputs, batch


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two objects", "up to 2 objects.*objects:NAME"),
        ("other keypoints", "the data have 2 keypoints, and the task 3"),
        ("other outputs", "3 keypoints want 3 .*num_classes=3"),
        ("no maps", "unknown output of the model 'heatmaps'"),
        ("maps that do not divide", "8×12 cells do not divide .*31×48"),
    ],
)
def test_what_does_not_fit_is_refused(name, message):
    outputs, batch = bad(name)
    with pytest.raises(UsageError, match=message):
        jax.eval_shape(
            lambda said, batch: TASK.update(forward_to(said), batch, keys=None),
            outputs,
            batch,
        )


def test_bad_options_are_refused():
    for make, message in (
        (lambda: tasks.keypoints(0, HEATMAPS), "at least 1, got 0"),
        (lambda: tasks.keypoints(3, "heatmaps"), "must be a tasks.Localiser"),
        (lambda: tasks.keypoints(3, HEATMAPS, headline="ap5"), "unknown headline"),
        (lambda: tasks.heatmaps(0.0), "sigma must be in"),
        (lambda: tasks.soft_argmax(-1.0), "sharpness must be in"),
        (lambda: tasks.mean_with_mirror_image(HEATMAPS, (0, 0, 1)), "every keypoint"),
    ):
        with pytest.raises(UsageError, match=message):
            make()
