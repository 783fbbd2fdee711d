"""What torchvision makes of the boxes of `box_inputs.py`.

    python tools/make_box_references.py

Runs where PyTorch and torchvision are installed, with torchvision's operators.  Writes
tests/ops/boxes.json: for each function its values, or where there are many of them some
entries, as `make_parity_references` has them.
"""

import json
from pathlib import Path

import box_inputs as inputs
import numpy as np
import torch
from make_parity_references import entries
from torchvision import ops
from torchvision.models.detection import _utils as detection
from torchvision.models.detection.anchor_utils import (
    AnchorGenerator,
    DefaultBoxGenerator,
)
from torchvision.models.detection.image_list import ImageList

FILE = Path(__file__).parent.parent / "tests" / "ops" / "boxes.json"


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def numbers(values):
    return np.asarray(values, np.float64).round(9).tolist()


def overlaps():
    a, b = (tensor(inputs.boxes(name, 5)) for name in ("a", "b"))
    measures = {
        "iou": ops.box_iou,
        "giou": ops.generalized_box_iou,
        "diou": ops.distance_box_iou,
        "ciou": ops.complete_box_iou,
    }
    losses = {
        "giou_loss": ops.generalized_box_iou_loss,
        "diou_loss": ops.distance_box_iou_loss,
        "ciou_loss": ops.complete_box_iou_loss,
    }
    found = {name: numbers(measure(a, b)) for name, measure in measures.items()}
    for name, loss in losses.items():
        each = a.clone().requires_grad_()
        values = loss(each, b)
        values.sum().backward()
        found[name] = numbers(values.detach())
        found[f"{name}_gradient"] = numbers(each.grad)
    return found


def dense_losses():
    logits = tensor(4 * inputs.uniform("logits", (12,)))
    targets = tensor((inputs.scores("targets", 12, 1)).astype(np.float32))
    found = {}
    for alpha in (0.25, -1):
        values = ops.sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=2)
        found[f"focal_{alpha}"] = numbers(values)
    for beta in (0.0, 1 / 9, 1.0):
        values = torch.nn.functional.smooth_l1_loss(
            logits, targets, beta=beta, reduction="none"
        )
        found[f"smooth_l1_{beta:.3f}"] = numbers(values)
    return found


def encodings():
    boxes, anchors = (tensor(inputs.boxes(name, 6)) for name in ("a", "b"))
    codes = tensor(3 * inputs.uniform("codes", (6, 4)))
    codes[0, 2:] = 9.0  # beyond the clamp
    found = {}
    for name, coder in (
        ("deltas", detection.BoxCoder((1.0, 1.0, 1.0, 1.0))),
        ("weighted_deltas", detection.BoxCoder((10.0, 10.0, 5.0, 5.0))),
    ):
        found[name] = numbers(coder.encode_single(boxes, anchors))
        found[f"{name}_decoded"] = numbers(coder.decode_single(codes, anchors))
    for name, normalise in (("distances", True), ("pixel_distances", False)):
        coder = detection.BoxLinearCoder(normalise)
        found[name] = numbers(coder.encode(anchors, boxes))
        found[f"{name}_decoded"] = numbers(coder.decode(codes, anchors))
    return found


def grids():
    image = torch.zeros(1, 3, 97, 130)
    images = ImageList(image, [(97, 130)])
    maps = [torch.zeros(1, 1, *size) for size in ((13, 17), (7, 9), (4, 5))]
    sizes = ((8, 10.5), (16, 20), (33, 41))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)(images, maps)[0]
    found = {"anchors": entries(anchors)}
    for name, options in (
        ("default_boxes", {}),
        ("default_boxes_of_steps", {"steps": [8, 16, 32], "clip": False}),
        ("default_boxes_of_scales", {"scales": [0.07, 0.4, 0.9, 1.2]}),
    ):
        generator = DefaultBoxGenerator([[2], [2, 3], [2, 3]], **options)
        boxes = generator(images, maps)[0]
        found[name] = entries(boxes)
    return found


def suppression():
    boxes, scores = tensor(inputs.boxes("a", 60)), tensor(inputs.scores("a", 60))
    classes = torch.arange(60) % 3
    return {
        "nms": ops.nms(boxes, scores, 0.4).tolist(),
        "batched_nms": detection_order(boxes, scores, classes, 0.4),
    }


def detection_order(boxes, scores, classes, threshold):
    """Class by class, since the shifts of `batched_nms` round coordinates."""
    kept = [
        where[ops.nms(boxes[where], scores[where], threshold)]
        for where in (torch.where(classes == k)[0] for k in classes.unique())
    ]
    kept = torch.cat(kept).sort().values
    return kept[scores[kept].sort(descending=True, stable=True).indices].tolist()


def matchers():
    boxes, anchors = (
        tensor(inputs.boxes(name, n)) for name, n in (("a", 6), ("b", 80))
    )
    quality = ops.box_iou(boxes, anchors)
    return {
        "matcher": detection.Matcher(0.5, 0.3)(quality).tolist(),
        "low_quality": detection.Matcher(0.6, 0.4, True)(quality).tolist(),
        "ssd_matcher": detection.SSDMatcher(0.5)(quality).tolist(),
    }


def aligned():
    maps = [inputs.features(str(size), *size) for size in inputs.LEVELS]
    maps = [tensor(m).permute(2, 0, 1)[None].requires_grad_() for m in maps]
    rois = tensor(inputs.ROIS)
    found = {}
    for shifted in (False, True):
        for ratio in (2, 0):
            pooled = ops.roi_align(maps[0], [rois], (3, 4), 1 / 8, ratio, shifted)
            pooled = pooled.permute(0, 2, 3, 1)
            weights = torch.cos(torch.arange(pooled.numel()).reshape(pooled.shape))
            (gradient,) = torch.autograd.grad((pooled * weights).sum(), maps[0])
            name = f"roi_align_{'shifted' if shifted else 'plain'}_{ratio}"
            found[name] = entries(pooled.detach())
            found[f"{name}_gradient"] = entries(gradient[0].permute(1, 2, 0))
    pool = ops.MultiScaleRoIAlign(
        ["0", "1", "2"], (3, 4), 2, canonical_scale=32, canonical_level=4
    )
    named = {str(k): m for k, m in enumerate(maps)}
    pooled = pool(named, [rois], [(inputs.HEIGHT, inputs.WIDTH)])
    found["multi_scale"] = entries(pooled.detach().permute(0, 2, 3, 1))
    return found


if __name__ == "__main__":
    parts = (
        overlaps, dense_losses, encodings, grids, suppression, matchers, aligned,
    )  # fmt: skip
    found = {}
    for part in parts:
        found |= part()
    lines = [f'"{name}": {json.dumps(value)}' for name, value in found.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
