"""The PyTorch side of `boxes`: torchvision's operators and matchers."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

prepared: Any = None
"""The case without arguments, from `make` on."""


def operators(path):
    """Run a file that defines torchvision's operators, where they are not compiled."""
    path = Path(path)
    sys.path.insert(0, str(path.parent))
    importlib.import_module(path.stem)


def version():
    import torchvision

    return f"{torch.__version__}, torchvision {torchvision.__version__}"


def make(name, path, options):
    """Prepare a case on the arrays of a file."""
    global prepared
    with np.load(path) as arrays:
        tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
    case: Any = CASES[name]
    prepared = case(**tensors, **options)


def seconds(calls):
    """Seconds of one call."""
    started = time.perf_counter()
    for _ in range(calls):
        prepared()
    return (time.perf_counter() - started) / calls


def suppression(boxes, scores, threshold, outputs):
    from torchvision.ops import batched_nms

    count, classes = scores.shape
    boxes = boxes.repeat_interleave(classes, 0)
    labels = torch.arange(classes).repeat(count)
    scores = scores.reshape(-1)
    return lambda: batched_nms(boxes, scores, labels, threshold)[:outputs]


def alignment(features, boxes, size, scale, samples, gradient):
    from torchvision.ops import roi_align

    features = features.permute(2, 0, 1)[None].requires_grad_(gradient)

    def run():
        return roi_align(features, [boxes], size, scale, samples, False)

    if not gradient:
        return run
    dy = torch.ones_like(run())
    return lambda: torch.autograd.grad(run(), features, dy)


def matching(boxes, counts, image, maps, sizes, ratios, high, low):
    from torchvision.models.detection._utils import Matcher
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList
    from torchvision.ops import box_iou

    generator, matcher = AnchorGenerator(sizes, ratios), Matcher(high, low, True)
    images = ImageList(torch.zeros(len(boxes), 1, *image), [tuple(image)] * len(boxes))
    maps = [torch.zeros(len(boxes), 1, *size) for size in maps]

    def run():
        each = generator(images, maps)
        return [
            matcher(box_iou(of[:count], anchors))
            for of, count, anchors in zip(boxes, counts.tolist(), each, strict=True)
        ]

    return run


CASES = {
    "suppression": suppression,
    "alignment": alignment,
    "matching": matching,
}
