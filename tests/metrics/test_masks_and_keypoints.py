"""Average precision of masks and keypoints against pycocotools."""

import contextlib
import io

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvision import run_lengths
from jaxvision.errors import UsageError
from jaxvision.metrics import coco, detection, keypoints
from jaxvision.ops import masks
from jaxvision.skeletons import PERSON

IMAGES, FOUND, OBJECTS, CLASSES, SIDE = 16, 26, 7, 3, 7
SIZE = (61, 147)
"""Large enough for small and medium objects; COCO's large ones follow from `area`."""
SIGMAS = (0.03, 0.1, 0.06, 0.09, 0.2)


def case(seed):
    """What was found and a batch, with crowds, ties, masks of no pixel, objects without
    a labelled keypoint, and images without objects or answers."""
    draw = np.random.default_rng(seed)
    limit = np.array([SIZE[1], SIZE[0]])
    size = np.exp(draw.uniform(1.5, 4.5, (IMAGES, OBJECTS, 2)))
    corner = draw.uniform(size=size.shape) * np.maximum(limit - size, 1)
    boxes = np.concatenate([corner, np.minimum(corner + size, limit)], -1)
    there = draw.uniform(size=(IMAGES, OBJECTS)) < 0.8
    there[:2] = False
    classes = np.where(there, draw.integers(0, CLASSES, there.shape), -1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    wide, high = boxes[..., 2:] - boxes[..., :2], (boxes[..., 2:] + boxes[..., :2]) / 2
    apart = [
        (place - high[..., k, None, None]) / wide[..., k, None, None]
        for k, place in enumerate((x, y))
    ]
    round_ = (apart[0] ** 2 + apart[1] ** 2 < 0.25) & there[..., None, None]
    round_[5, 0] = False  # of no pixel
    points = draw.uniform(size=(IMAGES, OBJECTS, len(SIGMAS), 2))
    points = boxes[..., None, :2] + points * wide[..., None, :]
    visible = draw.integers(0, 3, points.shape[:-1])
    visible[draw.uniform(size=there.shape) < 0.2] = 0
    visible = visible[..., None] * there[..., None, None]
    batch = {
        "boxes": (boxes * there[..., None]).astype(np.float32),
        "classes": classes,
        "crowd": ((draw.uniform(size=there.shape) < 0.15) & there).astype(np.uint8),
        "instances": round_.astype(np.uint8),
        "keypoints": np.concatenate([points * (visible > 0), visible], -1).astype(
            np.float32
        ),
    }

    source = draw.integers(0, OBJECTS, (IMAGES, FOUND))
    moved = np.take_along_axis(boxes, source[..., None], 1)
    spread = draw.choice([0, 0.03, 0.15], (IMAGES, FOUND, 1))
    moved = moved + spread * np.tile(moved[..., 2:] - moved[..., :2], 2) * (
        draw.standard_normal(moved.shape)
    )
    moved[..., 2:] = np.maximum(moved[..., 2:], moved[..., :2] + 1)
    v, u = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE - 0.5
    disc = np.clip(2.4 - 4 * np.hypot(u, v), 0, 1)
    noise = draw.uniform(-0.2, 0.2, (IMAGES, FOUND, SIDE, SIDE))
    says = draw.uniform(size=source.shape) < 0.9
    says[1:4] = False
    guess = np.take_along_axis(np.maximum(classes, 0), source, 1)
    near = np.take_along_axis(points, source[..., None, None], 1)
    near = near + draw.normal(scale=6, size=near.shape) * spread[..., None] * 5
    found = {
        "boxes": moved.astype(np.float32),
        "scores": draw.integers(0, 30, says.shape).astype(np.float32) / 30,
        "classes": np.where(says, guess, -1),
        "masks": np.clip(disc + noise, 0, 1).astype(np.float32),
        "keypoints": np.concatenate([near, np.ones_like(near[..., :1])], -1).astype(
            np.float32
        ),
    }
    return found, batch


def in_pycocotools(found, batch, kind, area):
    """COCOeval of `segm` or `keypoints`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def outline(mask):
        encoded = run_lengths.encoded(mask)
        return encoded | {"counts": encoded["counts"].encode()}

    objects, answers = [], []
    for i, m in np.argwhere(batch["classes"] >= 0).tolist():
        left, top, right, bottom = batch["boxes"][i, m].astype(float).tolist()
        points = batch["keypoints"][i, m].astype(float)
        objects.append(
            {
                "id": len(objects) + 1,
                "image_id": i,
                "category_id": int(batch["classes"][i, m]),
                "bbox": [left, top, right - left, bottom - top],
                "area": float(area[i, m]),
                "iscrowd": int(batch["crowd"][i, m]),
                "segmentation": outline(batch["instances"][i, m]),
                "keypoints": points.ravel().tolist(),
                "num_keypoints": int((points[:, 2] > 0).sum()),
            }
        )
    for i, d in np.argwhere(found["classes"] >= 0).tolist():
        pasted = masks.paste_on_host(
            found["masks"][i, d : d + 1], found["boxes"][i, d : d + 1], SIZE
        )
        what = {"segmentation": outline(pasted[0])}
        if kind == "keypoints":
            what = {
                "keypoints": found["keypoints"][i, d].astype(float).ravel().tolist()
            }
        answers.append(
            {
                "image_id": i,
                "category_id": int(found["classes"][i, d]),
                "score": float(found["scores"][i, d]),
                **what,
            }
        )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [
                {"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(IMAGES)
            ],
            "categories": [{"id": k} for k in range(CLASSES)],
            "annotations": objects,
            "info": {},
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(answers), kind)
        evaluation.params.kpt_oks_sigmas = np.array(SIGMAS)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


NAMES = {
    "mask": (
        *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
        *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
    ),
    "keypoint": (
        *("ap", "ap50", "ap75", "ap_medium", "ap_large"),
        *("ar_20", "ar50", "ar75", "ar_medium", "ar_large"),
    ),
}
"""In the order of COCO's tables."""

rows_of = jax.jit(detection.rows)


@pytest.fixture(scope="module")
def cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "BLOCK", 11 * 147 * (FOUND + OBJECTS))
        both = [case(seed) for seed in range(3)]
        return [(one, jax.device_get(rows_of(*one))) for one in both]


@pytest.mark.parametrize("kind", ["mask", "keypoint"])
def test_coco_is_pycocotools(cases, kind):
    for seed, ((found, batch), rows) in enumerate(cases):
        # Sizes are by what a set says; they have no part in the IoU of masks.
        if seed:
            draw = np.random.default_rng(seed)
            scale = np.exp(draw.uniform(0, 3, rows["area"].shape))
            rows = rows | {"area": (1 + rows["area"] * scale).astype(np.float32)}
        name = {"mask": "segm", "keypoint": "keypoints"}[kind]
        stats = in_pycocotools(found, batch, name, rows["area"])
        got = coco.compute_others(rows, CLASSES, sigmas=SIGMAS)
        assert 0.1 < got["mask_ap"] < 0.9 and 0.1 < got["keypoint_ap"] < 0.9
        for name, value in zip(NAMES[kind], stats, strict=True):
            value = np.nan if value == -1 else value
            assert got[f"{kind}_{name}"] == pytest.approx(
                value, abs=1e-9, nan_ok=True
            ), (seed, name)
        assert got[f"per_class_{kind}_ap"].mean() == pytest.approx(got[f"{kind}_ap"])


def test_areas_are_those_of_what_is_seen(cases):
    (found, batch), rows = cases[0]
    np.testing.assert_array_equal(rows["area"], batch["instances"].sum((2, 3)))
    given = rows_of(found, batch | {"area": np.ones_like(rows["area"])})
    assert given["area"].max() == 1
    # Of a detector of boxes the rows are as they were.
    boxes = {name: found[name] for name in detection.FOUND}
    assert detection.rows(boxes, batch).keys() == {
        *(f"found_{name}" for name in detection.FOUND),
        *("boxes", "classes", "crowd"),
    }
    assert coco.compute_others(detection.rows(boxes, batch), CLASSES) == {}


def test_rows_stay_where_their_images_are(cases):
    arrays, rows = cases[1]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    there = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("data")))
    program = rows_of.lower(*there).compile()
    assert "all-gather" not in program.as_text()
    got = program(*there)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(got), rows)


def test_similarity_is_its_definition():
    draw = np.random.default_rng(0)
    found, true = draw.uniform(0, 50, (2, 4, 5, 3))
    true[..., 2] = draw.integers(0, 3, (4, 5))
    true[0, :, 2], true[1, :, 2] = 2, 0
    boxes = np.tile(np.array([10.0, 12, 30, 20]), (4, 1))
    area = np.array([100.0, 200, 300, 400])
    got = keypoints.similarity(found, true, boxes, area, SIGMAS)
    for p in (0, 2, 3):
        each = [
            np.exp(-((f[:2] - t[:2]) ** 2).sum() / (2 * area[p] * (2 * sigma) ** 2))
            for f, t, sigma in zip(found[p], true[p], SIGMAS, strict=True)
            if t[2] > 0
        ]
        assert got[p] == pytest.approx(np.mean(each))
    # Nothing is labelled, and all is within three boxes: nothing speaks against it.
    inside = np.clip(found, 5, 27)
    assert keypoints.similarity(inside, true, boxes, area, SIGMAS)[1] == 1


def test_bad_keypoints_are_named(cases):
    _, rows = cases[0]
    with pytest.raises(UsageError, match="give those of the set"):
        coco.compute_others(rows, CLASSES)
    with pytest.raises(UsageError, match=r"sigmas must be 5, one for each .* got 17"):
        coco.compute_others(rows, CLASSES, sigmas=PERSON.sigmas)
    with pytest.raises(UsageError, match="sigmas must be positive"):
        coco.compute_others(rows, CLASSES, sigmas=(0.1, 0.1, 0, 0.1, 0.1))
    four = rows | {"found_keypoints": rows["found_keypoints"][:, :, :4]}
    with pytest.raises(UsageError, match=r"4 keypoints were found .* the set has 5"):
        coco.compute_others(four, CLASSES, sigmas=SIGMAS)
    with pytest.raises(UsageError, match="'mask_both'"):
        detection.masks_from_rows({"boxes": rows["boxes"]})
