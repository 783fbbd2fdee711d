"""Overlaps, encodings and anchors, against torchvision and against definitions."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import losses
from jaxvision.errors import UsageError
from jaxvision.ops import boxes as ops
from jaxvision.ops.boxes import anchors as grids
from tools import box_inputs as inputs
from tools.parity_inputs import probe, uniform

REFERENCES = json.loads((Path(__file__).parent / "boxes.json").read_text())
MEASURES = {"iou": ops.iou, "giou": ops.giou, "diou": ops.diou, "ciou": ops.ciou}
NOTHING = jnp.asarray([[3.0, 4.0, 3.0, 4.0], [3, 4, 9, 4], [0, 0, 0, 0]])
"""Boxes without area."""


def close(got, reference, tolerance=1e-5):
    """Against the values of a reference, or those entries that it has."""
    if isinstance(reference, dict):
        assert list(got.shape) == reference["shape"]
        got = np.asarray(got).reshape(-1)[probe(got.shape)]
        tolerance = tolerance * max(1, reference["scale"])
        reference = reference["values"]
    np.testing.assert_allclose(got, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MEASURES)
def test_pairwise_overlaps_are_torchvisions(name):
    a, b = inputs.boxes("a", 5), inputs.boxes("b", 5)
    eps = 1e-7 if name in ("diou", "ciou") else 0.0
    close(jax.jit(ops.pairwise(MEASURES[name]))(a, b, eps=eps), REFERENCES[name])
    each = MEASURES[name](jnp.asarray(a), jnp.asarray(b), eps=eps)
    close(each, np.diag(REFERENCES[name]))


def test_losses_of_boxes_and_their_gradients_are_torchvisions():
    names = ("giou_loss", "diou_loss", "ciou_loss")

    @jax.jit
    def all_of(a, b):
        each = (
            jax.vjp(lambda a, n=name: getattr(losses, n)(a, b), a) for name in names
        )
        return [(value, pull(jnp.ones_like(value))[0]) for value, pull in each]

    found = all_of(inputs.boxes("a", 5), inputs.boxes("b", 5))
    for name, (value, gradient) in zip(names, found, strict=True):
        close(value, REFERENCES[name])
        close(gradient, REFERENCES[f"{name}_gradient"])


def test_forms_of_the_loss_of_iou():
    a, b = inputs.boxes("a", 5), inputs.boxes("b", 5)
    share = np.diag(REFERENCES["iou"])
    close(losses.iou_loss(a, b), 1 - share)
    close(losses.squared_iou_loss(a, b), 1 - share**2)
    close(losses.log_iou_loss(a, b), -np.log(np.maximum(share, 1e-7)))


def test_dense_losses_are_torchvisions():
    logits = 4 * uniform("logits", (12,))
    targets = inputs.scores("targets", 12, 1)
    for alpha, key in ((0.25, 0.25), (None, -1)):
        got = losses.sigmoid_focal(logits, targets, alpha=alpha, gamma=2)
        close(got, REFERENCES[f"focal_{key}"])
    for beta in (0.0, 1 / 9, 1.0):
        got = losses.smooth_l1(logits, targets, beta=beta)
        close(got, REFERENCES[f"smooth_l1_{beta:.3f}"])
    certain = jax.grad(lambda x: losses.sigmoid_focal(x, jnp.ones(2)).sum())
    assert np.isfinite(certain(jnp.asarray([200.0, -200.0]))).all()
    with pytest.raises(UsageError, match="alpha must be from 0 to 1"):
        losses.sigmoid_focal(logits, targets, alpha=-1)
    with pytest.raises(UsageError, match="beta must not be negative"):
        losses.smooth_l1(logits, targets, beta=-1)


def test_boxes_without_area_have_an_overlap_and_a_gradient():
    some = jnp.asarray([[0.0, 0.0, 10.0, 10.0], [4.0, 5.0, 4.5, 9.0]])

    @jax.jit
    def all_of(a, b):
        pairs = (jax.vjp(ops.pairwise(measure), a, b) for measure in MEASURES.values())
        return [(value, pull(jnp.ones_like(value))) for value, pull in pairs]

    for value, gradients in all_of(jnp.concatenate([NOTHING, some]), NOTHING):
        assert np.isfinite(value).all() and (np.abs(value) <= 2).all()
        assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert ops.iou(NOTHING, NOTHING).max() == 0
    assert ops.coverage(NOTHING, some[:1]).max() == 0


def test_areas_and_shares():
    box = jnp.asarray([[0.0, 0.0, 4.0, 5.0], [2.0, 2.0, 1.0, 9.0]])
    np.testing.assert_array_equal(ops.area(box), [20, 0])  # corners turned round
    whole = jnp.asarray([[1.0, 0.0, 9.0, 9.0]])
    np.testing.assert_allclose(ops.coverage(box, whole), [0.75, 0])
    np.testing.assert_allclose(ops.intersection(box, whole), [15, 0])


def test_forms_of_boxes():
    boxes = inputs.boxes("a", 7)
    np.testing.assert_allclose(ops.corner_form(ops.centre_form(boxes)), boxes)
    np.testing.assert_allclose(
        ops.centre_form(jnp.asarray([1.0, 2, 5, 4])), [3, 3, 4, 2]
    )
    wild = jnp.asarray([[-5.0, 3, 200, 90], [-9, -9, -3, -3], [1, 2, 3, 4]])
    np.testing.assert_array_equal(
        ops.clip(wild, 80, 100), [[0, 3, 100, 80], [0, 0, 0, 0], [1, 2, 3, 4]]
    )
    sizes = jnp.asarray([80.0, 3.0])  # of each image of a batch
    batch = jax.vmap(ops.clip)(jnp.stack([wild, wild]), sizes, sizes + 20)
    assert batch[1].max() == 23 and batch[1, :, 1].max() == 3


ENCODINGS = {
    "deltas": ops.deltas(),
    "weighted_deltas": ops.deltas((10, 10, 5, 5)),
    "distances": ops.distances(),
    "pixel_distances": ops.distances(normalise=False),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_are_torchvisions(name):
    boxes, references = inputs.boxes("a", 6), inputs.boxes("b", 6)
    codes = 3 * uniform("codes", (6, 4))
    codes[0, 2:] = 9
    encoding = ENCODINGS[name]
    close(encoding.encode(boxes, references), REFERENCES[name])
    close(encoding.decode(codes, references), REFERENCES[f"{name}_decoded"])


@pytest.mark.parametrize("name", [*ENCODINGS, "yolox"])
def test_decoding_turns_encoding_round(name):
    encoding = ENCODINGS.get(name, ops.yolox())
    boxes, references = inputs.boxes("a", 9), inputs.boxes("b", 9)
    codes = encoding.encode(boxes, references)
    np.testing.assert_allclose(encoding.decode(codes, references), boxes, atol=1e-4)
    # Padding of a batch, against a reference that is nothing either.
    nothing = encoding.encode(NOTHING, jnp.concatenate([references[:2], NOTHING[:1]]))
    assert np.isfinite(nothing).all()


def test_yolox_counts_from_the_corner_of_a_cell():
    cell = jnp.asarray([[16.0, 8.0, 24.0, 16.0]])
    decoded = ops.yolox().decode(jnp.asarray([[0.5, 1.25, 0.0, math.log(2)]]), cell)
    np.testing.assert_allclose(decoded, [[16, 10, 24, 26]])


def test_ssd_believes_any_size_without_a_clamp():
    reference = jnp.asarray([[0.0, 0.0, 10.0, 10.0]])
    codes = jnp.asarray([[0.0, 0.0, 25.0, 0.0]])
    width = ops.deltas((10, 10, 5, 5), clamp=None).decode(codes, reference)[0]
    assert width[2] - width[0] == pytest.approx(10 * math.exp(5), rel=1e-5)
    with pytest.raises(UsageError, match="four positive numbers"):
        ops.deltas((1, 1, 0, 1))


MAPS = ((13, 17), (7, 9), (4, 5))


def test_anchors_are_torchvisions():
    sizes = ((8, 10.5), (16, 20), (33, 41))
    got = grids.anchors((97, 130), MAPS, sizes, ((0.5, 1.0, 2.0),) * 3)
    assert [len(level) for level in got] == [6 * h * w for h, w in MAPS]
    close(np.concatenate(got), REFERENCES["anchors"])
    ratios = ([2], [2, 3], [2, 3])
    for name, options in (
        ("default_boxes", {}),
        ("default_boxes_of_steps", {"steps": [8, 16, 32], "clip": False}),
        ("default_boxes_of_scales", {"scales": [0.07, 0.4, 0.9, 1.2]}),
    ):
        got = np.concatenate(grids.default_boxes((97, 130), MAPS, ratios, **options))
        assert got.dtype == np.float32
        close(got, REFERENCES[name])


def test_cells_cover_the_map_row_by_row():
    first, second = grids.cells(((2, 3), (1, 2)), (8, 16))
    np.testing.assert_array_equal(first[:4, 0], [0, 8, 16, 0])
    np.testing.assert_array_equal(first[:4, 1], [0, 0, 0, 8])
    np.testing.assert_array_equal(first[:, 2:] - first[:, :2], 8)
    np.testing.assert_array_equal(second, [[0, 0, 16, 16], [16, 0, 32, 16]])


def test_levels_that_do_not_fit_are_named():
    with pytest.raises(UsageError, match="3 maps and sizes for 1"):
        grids.anchors((97, 130), MAPS, ((8,),), ((1,),) * 3)
    with pytest.raises(UsageError, match="larger than the image"):
        grids.anchors((4, 130), ((8, 8),), ((8,),), ((1,),))
    with pytest.raises(UsageError, match="ratios must be positive"):
        grids.anchors((97, 130), ((8, 8),), ((8,),), ((0,),))
    with pytest.raises(UsageError, match="one more than the levels"):
        grids.default_boxes((97, 130), MAPS, ((2,),) * 3, scales=(0.1, 0.2, 0.3))
    with pytest.raises(UsageError, match="steps must be 3"):
        grids.default_boxes((97, 130), MAPS, ((2,),) * 3, steps=(8,))
    with pytest.raises(UsageError, match="3 maps and 1 strides"):
        grids.cells(MAPS, (8,))
