"""What torchvision's detectors make of the outputs of heads in `detector_inputs.py`.

    python tools/make_detector_references.py

Runs where PyTorch and torchvision are installed, with torchvision's operators.  Writes
tests/tasks/detectors.json: for each detector its losses, their gradients, and what it
finds, or where these are many numbers some entries, as `make_parity_references` has
them.
"""

import json
from pathlib import Path

import detector_inputs as inputs
import torch
import torchvision
from make_parity_references import HEADS, entries
from torchvision.models.detection.image_list import ImageList

FILE = Path(__file__).parent.parent / "tests" / "tasks" / "detectors.json"


class Transform(torch.nn.Module):
    """In the place of torchvision's: images and boxes stay as they are."""

    def forward(self, images, targets=None):
        sizes = [tuple(image.shape[-2:]) for image in images]
        return ImageList(torch.stack([*images]), sizes), targets

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
            {
                "boxes": entries(one["boxes"]),
                "scores": entries(one["scores"]),
                "classes": "".join(str(k - background) for k in one["labels"].tolist()),
            }
            for one in found
        ],
    }


if __name__ == "__main__":
    found = {name: reference(name) for name in inputs.SHAPES}
    lines = [f'"{name}": {json.dumps(value)}' for name, value in found.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
