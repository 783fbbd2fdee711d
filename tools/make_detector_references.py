"""What detectors of torchvision, YOLOX and DETR make of outputs of heads.

    python tools/make_detector_references.py [NAME …]

Runs where PyTorch, torchvision, with its operators, YOLOX 0.3 and SciPy are installed,
and DETR's repository is on PYTHONPATH.  The outputs are those of `detector_inputs.py`.
Writes tests/tasks/detectors.json: for each detector its losses, their gradients, and
what it finds, or where these are many numbers some entries, as `make_parity_references`
has them.
"""

import json
import re
import sys
from pathlib import Path

import detector_inputs as inputs
import torch
import torchvision
from make_parity_references import HEADS, PREDICTIONS, entries
from torchvision.models.detection.image_list import ImageList

FILE = Path(__file__).parent.parent / "tests" / "tasks" / "detectors.json"


class Transform(torch.nn.Module):
    """In the place of torchvision's: images and boxes stay as they are."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack([*images]), sizes(images)), targets

    def postprocess(self, result, *_):
        return result


def detector(name, said):
    """That of torchvision, whose heads say what they are told."""
    background = int(name.startswith("ssd"))
    model = torchvision.models.get_model(
        name,
        num_classes=inputs.CLASSES + background,
        weights=None,
        weights_backbone=None,
    )
    _, maps, _ = inputs.SHAPES[name]
    count = len(inputs.OBJECTS)
    levels = {str(i): torch.zeros(count, 1, *size) for i, size in enumerate(maps)}
    model.transform = Transform()
    model.backbone.forward = lambda images: levels
    model.head.forward = lambda features: said
    return model


def reference(name):
    background = int(name.startswith("ssd"))
    said = {
        HEADS[key]: torch.from_numpy(value).requires_grad_()
        for key, value in inputs.said(name, background).items()
    }
    leaves = {key: said[HEADS[key]] for key in HEADS if HEADS[key] in said}
    if "bbox_ctrness" in said:
        said["bbox_ctrness"] = said["bbox_ctrness"][..., None]
    model = detector(name, said)
    size, _, _ = inputs.SHAPES[name]
    images = [torch.zeros(3, *size) for _ in inputs.OBJECTS]
    targets = [
        {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(k + background)}
        for boxes, k in inputs.objects(name)
    ]
    losses = model.train()(images, targets)
    sum(losses.values()).backward()
    with torch.no_grad():
        found = model.eval()(images)
    return {
        "losses": {key: value.item() for key, value in losses.items()},
        "gradients": {key: entries(leaf.grad) for key, leaf in leaves.items()},
        "found": [
            described(one["boxes"], one["scores"], one["labels"] - background)
            for one in found
        ],
    }


def described(boxes, scores, classes):
    return {
        "boxes": entries(boxes),
        "scores": entries(scores),
        "classes": "".join(map(str, classes.tolist())),
    }


class Said(torch.nn.Module):
    """In the place of a layer: it says what it is told."""

    def __init__(self, said):
        super().__init__()
        self.said = said

    def forward(self, _):
        return self.said


def yolox(name):
    """Of YOLOX, with the L1 loss of the last epochs; it finds as many as we keep."""
    from yolox.models import YOLOXHead
    from yolox.utils import postprocess

    (height, width), maps, _ = inputs.SHAPES[name]
    leaves = {
        key: torch.from_numpy(value).requires_grad_()
        for key, value in inputs.said(name, 0).items()
    }
    head, start = YOLOXHead(inputs.CLASSES), 0
    for k, (rows, columns) in enumerate(maps):
        for layers in (head.stems, head.cls_convs, head.reg_convs):
            layers[k] = torch.nn.Identity()
        own = slice(start, start := start + rows * columns)
        for key, layers in PREDICTIONS.items():
            said = leaves[key].reshape(*leaves[key].shape[:2], -1)[:, own]
            said = said.transpose(1, 2).unflatten(2, (rows, columns))
            getattr(head, layers)[k] = Said(said)
    levels = [torch.zeros(len(inputs.OBJECTS), 1, *size) for size in maps]
    labels = torch.zeros(len(inputs.OBJECTS), max(inputs.OBJECTS), 5)
    for i, (boxes, classes) in enumerate(inputs.objects(name)):
        corner, end = torch.from_numpy(boxes).split(2, dim=1)
        numbers = torch.from_numpy(classes)[:, None]
        labels[i, : len(boxes)] = torch.cat(
            [numbers, (corner + end) / 2, end - corner], 1
        )
    head.use_l1 = True
    images = torch.zeros(len(inputs.OBJECTS), 3, height, width)
    total, boxes, objectness, classes, l1, _ = head.train()(levels, labels, images)
    total.backward()
    with torch.no_grad():
        predicted = postprocess(head.eval()(levels), inputs.CLASSES, 0.01, 0.65)
    edges = torch.tensor([width, height] * 2)
    return {
        "losses": {
            "classification": classes.item(),
            "bbox_regression": boxes.item(),
            "objectness": objectness.item(),
            "l1": l1.item(),
        },
        "gradients": {key: entries(leaf.grad) for key, leaf in leaves.items()},
        "found": [
            described(
                torch.minimum(one[:MOST, :4].clamp(min=0), edges),
                one[:MOST, 4] * one[:MOST, 5],
                one[:MOST, 6].long(),
            )
            for one in predicted
        ],
    }


MOST = 100


def detr(name):
    """Of DETR, whose queries are all found."""
    from models.detr import PostProcess, SetCriterion
    from models.matcher import HungarianMatcher
    from util.box_ops import box_xyxy_to_cxcywh

    (height, width), _, _ = inputs.SHAPES[name]
    sides = torch.tensor([width, height] * 2)
    leaves = {
        key: torch.from_numpy(value).requires_grad_()
        for key, value in inputs.said(name, 1).items()
    }
    logits, boxes = (
        leaves[key].unflatten(1, (inputs.LAYERS, -1)).unbind(1)
        for key in ("class_logits", "box_codes")
    )
    *others, last = (
        {"pred_logits": scores, "pred_boxes": codes.sigmoid()}
        for scores, codes in zip(logits, boxes, strict=True)
    )
    targets = [
        {
            "boxes": box_xyxy_to_cxcywh(torch.from_numpy(boxes)) / sides,
            "labels": torch.from_numpy(classes),
        }
        for boxes, classes in inputs.objects(name)
    ]
    criterion = SetCriterion(
        inputs.CLASSES, HungarianMatcher(1, 5, 2), {}, 0.1, ["labels", "boxes"]
    )
    said = criterion({**last, "aux_outputs": others}, targets)
    weights = {"classification": 1, "bbox_regression": 5, "giou": 2}
    names = dict(zip(("loss_ce", "loss_bbox", "loss_giou"), weights, strict=True))
    losses = dict.fromkeys(weights, 0.0)
    for key, value in said.items():
        if ours := names.get(re.sub(r"_\d+$", "", key)):
            losses[ours] += weights[ours] * value
    sum(losses.values()).backward()
    sizes = torch.tensor([[height, width]] * len(targets))
    found = []
    for one in PostProcess()(last, sizes):
        order = one["scores"].argsort(descending=True)
        clipped = torch.minimum(one["boxes"].clamp(min=0), sides)
        found.append(
            described(clipped[order], one["scores"][order], one["labels"][order])
        )
    return {
        "losses": {key: value.item() for key, value in losses.items()},
        "gradients": {key: entries(leaf.grad) for key, leaf in leaves.items()},
        "found": found,
    }


class OfRegions(torch.nn.Module):
    """In the place of a head: it says what the boxes decide."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, boxes):
        said = []
        for output in self.outputs:
            matrix, factor, shape = inputs.of_regions(output)
            numbers = factor * torch.sin(boxes @ torch.from_numpy(matrix))
            numbers = numbers.reshape(-1, *shape)
            said.append(
                numbers.movedim(-1, 1).contiguous() if len(shape) == 3 else numbers
            )
        return said[0] if len(said) == 1 else (said[0], said[1].flatten(1))


class Boxes(torch.nn.Module):
    """In the place of RoIAlign: regions are their boxes."""

    def forward(self, maps, boxes, sizes):
        return torch.cat([*boxes])


def rcnn(name):
    """That of torchvision with masks and keypoints, whose heads say what they are told
    of anchors, and of regions what their boxes decide."""
    model = torchvision.models.get_model(
        "maskrcnn_resnet50_fpn",
        num_classes=inputs.CLASSES + 1,
        rpn_batch_size_per_image=inputs.DRAWN,
        rpn_pre_nms_top_n_test=inputs.PROPOSALS[0],
        rpn_post_nms_top_n_test=inputs.PROPOSALS[1],
        rpn_pre_nms_top_n_train=inputs.IN_TRAINING[0],
        rpn_post_nms_top_n_train=inputs.IN_TRAINING[1],
        box_batch_size_per_image=inputs.DRAWN,
        weights=None,
        weights_backbone=None,
    )
    heads = model.roi_heads
    heads.box_roi_pool = heads.mask_roi_pool = heads.keypoint_roi_pool = Boxes()
    heads.box_head = heads.mask_head = heads.keypoint_head = torch.nn.Identity()
    heads.box_predictor = OfRegions("class_logits", "box_codes")
    heads.mask_predictor = OfRegions("mask_logits")
    heads.keypoint_predictor = OfRegions("keypoint_logits")
    (height, width), maps, _ = inputs.SHAPES[name]
    count = len(inputs.OBJECTS)
    leaves = {
        key: torch.from_numpy(value).requires_grad_()
        for key, value in inputs.said(name, 0).items()
    }
    said, start = {key: [] for key in leaves}, 0
    for rows, columns in maps:
        own = slice(start, start := start + 3 * rows * columns)
        for key, leaf in leaves.items():
            of_map = leaf[:, own].reshape(count, rows, columns, -1)
            said[key].append(of_map.movedim(-1, 1))
    levels = {str(i): torch.zeros(count, 1, *size) for i, size in enumerate(maps)}
    model.transform = Transform()
    model.backbone.forward = lambda images: levels
    model.rpn.head.forward = lambda features: (
        said["class_logits"],
        said["box_codes"],
    )
    images = [torch.zeros(3, height, width) for _ in range(count)]
    targets = [
        {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(classes + 1),
            "masks": torch.from_numpy(masks),
            "keypoints": torch.from_numpy(keypoints),
        }
        for (boxes, classes), (masks, keypoints) in zip(
            inputs.objects(name), inputs.annotations(name), strict=True
        )
    ]
    losses = model.train()(images, targets)
    sum(losses.values()).backward()
    with torch.no_grad():
        found = model.eval()(images)
        proposals, _ = model.rpn(ImageList(torch.stack(images), sizes(images)), levels)
    return {
        "losses": {key: value.item() for key, value in losses.items()},
        "gradients": {key: entries(leaf.grad) for key, leaf in leaves.items()},
        "proposals": [entries(one) for one in proposals],
        "found": [
            described(one["boxes"], one["scores"], one["labels"] - 1)
            | {
                "masks": entries(one["masks"][:, 0]),
                "keypoints": entries(one["keypoints"]),
                "keypoint_scores": entries(one["keypoints_scores"]),
            }
            for one in found
        ],
    }


def sizes(images):
    return [tuple(image.shape[-2:]) for image in images]


FAMILIES = {"yolox": yolox, "detr": detr, "rcnn": rcnn}
"""By the first part of the name; the others are torchvision's."""


if __name__ == "__main__":
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in sys.argv[1:] or inputs.SHAPES:
        found[name] = FAMILIES.get(name.partition("_")[0], reference)(name)
    lines = [f'"{name}": {json.dumps(value)}' for name, value in found.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
