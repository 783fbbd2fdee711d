"""What heads of detectors say, and objects, that two implementations are compared with.

Made from names alone, as `parity_inputs` does, and runs in both environments.
"""

import numpy as np

try:  # as a script, and as a module of this package
    from box_inputs import HEIGHT, WIDTH, boxes
    from parity_inputs import uniform
except ImportError:
    from tools.box_inputs import HEIGHT, WIDTH, boxes
    from tools.parity_inputs import uniform

CLASSES = 4

OBJECTS = (6, 0, 2)
"""Of each of three images."""

FPN = ((12, 16), (6, 8), (3, 4), (2, 2), (1, 1))

SHAPES = {
    "retinanet_resnet50_fpn": ((96, 128), FPN, (9,) * 5),
    "retinanet_resnet50_fpn_v2": ((96, 128), FPN, (9,) * 5),
    "fcos_resnet50_fpn": ((96, 128), FPN, (1,) * 5),
    "ssd300_vgg16": (
        (300, 300),
        ((38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)),
        (4, 6, 6, 6, 4, 4),
    ),
    "ssdlite320_mobilenet_v3_large": (
        (128, 160),
        ((8, 10), (4, 5), (2, 3), (1, 2), (1, 1), (1, 1)),
        (6,) * 6,
    ),
    "yolox_s": ((96, 128), FPN[:3], (1,) * 3),
    "detr_resnet50": ((96, 128), ((3, 4),), (5,)),
    "rcnn": ((96, 128), ((24, 32), *FPN[:4]), (3,) * 5),
}
"""Sizes of the image and of the maps, and anchors of a place on each."""

LAYERS = 3
"""Of queries, which are a third of DETR's anchors, wherever they are."""


def spread(name, shape):
    """float32 numbers in (-1, 1) in an order that the name decides, evenly spaced: no
    two are so near that rounding decides which score is the higher."""
    order = np.argsort(uniform(name, shape), axis=None)
    numbers = np.empty(order.size, np.float32)
    numbers[order] = (2 * np.arange(order.size) + 1) / order.size - 1
    return numbers.reshape(shape)


def said(name, background):
    """Outputs of the heads of three images; `background`: columns that are no class."""
    _, maps, places = SHAPES[name]
    anchors = sum(h * w * k for (h, w), k in zip(maps, places, strict=True))
    count = len(OBJECTS)
    columns = 1 if name == "rcnn" else CLASSES + background
    logits = spread(f"{name} logits", (count, anchors, columns))
    codes = uniform(f"{name} codes", (count, anchors, 4))
    if name.startswith("yolox"):
        objectness = spread(f"{name} objectness", (count, anchors))
        return {
            "class_logits": 3 * logits,
            # Boxes that are larger than their cells.
            "box_codes": codes + np.array([0.5, 0.5, 0.8, 0.8], np.float32),
            "objectness": 3 * objectness,
        }
    if name.startswith("detr"):
        return {"class_logits": 3 * logits, "box_codes": 2 * codes}
    if not name.startswith("fcos"):
        return {"class_logits": 3 * logits - 1, "box_codes": 0.5 * codes}
    return {
        "class_logits": 3 * logits,
        # Above 0, where the rectifier before them has a slope.
        "box_codes": codes + np.float32(1.05),
        "centredness": 2 * uniform(f"{name} centredness", (count, anchors)),
    }


def objects(name):
    """Boxes float32 [n,4] in the image and classes int [n] of each image."""
    (height, width), _, _ = SHAPES[name]
    scale = np.array([width / WIDTH, height / HEIGHT] * 2, np.float32)
    found = []
    for i, count in enumerate(OBJECTS):
        numbers = np.arange(count) % CLASSES
        found.append((boxes(f"{name} {i}", count, least=12.0) * scale, numbers))
    return found


KEYPOINTS = 3

DRAWN = 5000
"""So many that all are drawn, anchors and regions."""

PROPOSALS, IN_TRAINING = (150, 40), (200, 80)
"""Of a map before and of an image after suppression."""

OF_REGIONS = {
    "class_logits": ((CLASSES + 1,), 4.0),
    "box_codes": ((CLASSES + 1, 4), 1.0),
    "mask_logits": ((28, 28, CLASSES + 1), 3.0),
    "keypoint_logits": ((56, 56, KEYPOINTS), 3.0),
}
"""What heads say of a region: shapes, and how large it is."""


def of_regions(output):
    """Numbers by which a head says something of each box: the sines of what the matrix
    [4,n] makes of its corners, times a factor; and their shape."""
    shape, factor = OF_REGIONS[output]
    return uniform(output, (4, int(np.prod(shape)))) / 4, np.float32(factor), shape


def annotations(name):
    """Masks uint8 [n,H,W], ellipses in boxes, and keypoints float32 [n,K,3] of the
    objects of each image, some of which are hidden, not labelled, or out of the box."""
    (height, width), _, _ = SHAPES[name]
    y, x = np.mgrid[:height, :width] + 0.5
    found = []
    for i, (of_image, _) in enumerate(objects(name)):
        corner, end = (each[:, None, None] for each in np.split(of_image, 2, axis=1))
        (x0, y0), (x1, y1) = (np.moveaxis(each, -1, 0) for each in (corner, end))
        masks = (2 * x - x0 - x1) ** 2 / (x1 - x0) ** 2
        masks = masks + (2 * y - y0 - y1) ** 2 / (y1 - y0) ** 2 <= 1
        u = uniform(f"{name} {i} keypoints", (len(of_image), KEYPOINTS, 3))
        share = 0.5 + 0.6 * u[..., :2]
        places = of_image[:, None, :2] * (1 - share) + of_image[:, None, 2:] * share
        kinds = np.floor(1.5 * (u[..., 2:] + 1))
        found.append(
            (
                masks.astype(np.uint8),
                np.concatenate([places, kinds], -1).astype(np.float32),
            )
        )
    return found
