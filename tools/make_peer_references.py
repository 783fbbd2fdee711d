"""What the PyTorch sides of `benchmarks.speed` and `benchmarks.detection` make of given
weights and images.

    python tools/make_peer_references.py [networks|detection]

Runs where PyTorch and torchvision are installed, and for detectors YOLOX 0.3.
tests/benchmarks/networks.json gets for each row the names of the parameters in their
order, and a selection of the logits of a training pass.  The names are those of the
network's reference, torchvision's or that of `parity_definitions.py`, or for networks
without one the peer's own.  detection.json beside it gets the loss of a training pass
of each detector, and what it finds in each image.
"""

import json
import sys
from pathlib import Path

import parity_inputs as inputs
import torch
import torchvision
from make_parity_references import entries
from parity_definitions import DEFINITIONS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))
import speed_torch as peer  # noqa: E402

TESTS = ROOT / "tests" / "benchmarks"
CLASSES = 10


def reference(row):
    network = peer.NETWORKS[row](CLASSES)
    if row in DEFINITIONS:
        named = DEFINITIONS[row]()
    elif isinstance(network, peer.Resized):
        named = network.network
    elif row in torchvision.models.list_models():
        named = torchvision.models.get_model(row, weights=None, num_classes=CLASSES)
    else:
        named = network
    shapes = {name: tuple(p.shape) for name, p in named.named_parameters()}
    for (name, shape), parameter in zip(
        shapes.items(), network.parameters(), strict=True
    ):
        own = tuple(parameter.shape)
        outputs_first = shape != own and shape == (*own[1::-1], *own[2:])
        made = shape if outputs_first else own
        weight = torch.from_numpy(inputs.weight(name, made, 2.0))
        if row == "lenet5" and name == "c5.weight":
            # The weights are for maps with channels last.
            weight = weight.unflatten(1, (5, 5, 16)).permute(0, 3, 1, 2).flatten(1)
        if outputs_first:  # of a transposed convolution whose reference has them so
            weight = weight.transpose(0, 1)
        parameter.data.copy_(weight)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    small = ("lenet5", "resnet20", "resnet18_cifar", "unet", "unet_small")
    side = 32 if row in small else 64
    images = inputs.images(side, side, channels=1 if row == "lenet5" else 3, count=4)
    images = torch.from_numpy(images).movedim(-1, 1)
    with torch.no_grad():
        logits = network.double().train()(images.double()).movedim(1, -1)
    return {"side": side, "names": list(shapes), "logits": entries(logits)}


SHAPE = (2, 128, 160, 3)
"""Of the images of detectors."""

EVERY, PROPOSALS = 20_000, 100
"""Anchors and regions that teach, and proposals of an image, of Mask R-CNN."""


def detection(row):
    import detection_torch as peer
    from make_detector_references import described

    peer.compile_suppression()
    model, images, targets = peer.detector(row, SHAPE)
    if row.startswith("maskrcnn"):  # every anchor and region teaches: none is drawn
        for part in (model.network.rpn, model.network.roi_heads):
            part.fg_bg_sampler.batch_size_per_image = EVERY
        model.network.rpn._post_nms_top_n = dict(training=PROPOSALS, testing=PROPOSALS)
    with torch.no_grad():
        found = [described(*one) for one in model.found(images)]
    return {"loss": model.loss(images, targets).item(), "found": found}


def write(file, row_of, rows):
    lines = [f'"{row}": {json.dumps(row_of(row))}' for row in rows]
    (TESTS / file).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    asked = sys.argv[1:] or ["networks", "detection"]
    if "networks" in asked:
        write("networks.json", reference, peer.NETWORKS)
    if "detection" in asked:
        rows = ("retinanet_resnet18", "ssdlite320", "yolox_nano", "maskrcnn_resnet18")
        write("detection.json", detection, rows)
