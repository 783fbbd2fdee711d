"""The PyTorch side of `detection`: torchvision's detectors and YOLOX, run eagerly.

Their weights, images and objects are those of `tools/`, which both sides make by name.
"""

import ctypes
import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import parity_inputs as inputs
from memory import peak
from step_inputs import CLASSES, GAIN, ellipses, objects

prepared: Any = None
"""`count -> seconds of a step`, from `make` on."""


def compile_suppression():
    """Replace torchvision's operator where it is not compiled for this PyTorch."""
    try:
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        return "torchvision's"
    except RuntimeError:
        pass
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "nms.so"
        source = Path(__file__).with_name("nms.cpp")
        options = ["-O3", "-march=native", "-shared", "-fPIC"]
        subprocess.run(["c++", *options, "-o", library, source], check=True)
        compiled = ctypes.CDLL(str(library)).nms
    compiled.restype = ctypes.c_int64

    def nms(boxes, scores, threshold):
        boxes, scores = boxes.detach().contiguous(), scores.detach().contiguous()
        kept = torch.empty(len(boxes), dtype=torch.int64)
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (boxes, scores, kept)]
        count = compiled(
            *pointers[:2],
            ctypes.c_int64(len(boxes)),
            ctypes.c_double(threshold),
            pointers[2],
        )
        return kept[:count]

    torchvision.ops.nms = torchvision.ops.boxes.nms = nms
    return "nms.cpp"


class AsTheyAre(nn.Module):
    """In the place of torchvision's: images and boxes stay as they are."""

    def forward(self, images, targets=None):
        return ImageList(images, [tuple(images.shape[2:])] * len(images)), targets

    def postprocess(self, result, *_):
        return result


class Torchvision(nn.Module):
    """A detector of torchvision: its loss, and its boxes, scores and classes."""

    def __init__(self, network, background):
        super().__init__()
        self.network, self.background = network, background
        network.transform = AsTheyAre()

    def loss(self, images, targets):
        return sum(self.network.train()(images, targets).values())

    def found(self, images):
        return [
            (one["boxes"], one["scores"], one["labels"] - self.background)
            for one in self.network.eval()(images)
        ]

    def targets(self, found, size):
        return [
            {
                "boxes": torch.from_numpy(boxes),
                "labels": torch.from_numpy(classes) + self.background,
                "masks": torch.from_numpy(ellipses(boxes, *size)),
            }
            for boxes, classes in found
        ]


def resnet18_fpn(**options):
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        **options,
    )


def retinanet_resnet18():
    from torchvision.models.detection import RetinaNet
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    backbone = resnet18_fpn(
        returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    return Torchvision(RetinaNet(backbone, CLASSES), 0)


def maskrcnn_resnet18():
    from torchvision.models.detection import MaskRCNN

    return Torchvision(MaskRCNN(resnet18_fpn(), CLASSES + 1), 1)


def ssdlite320():
    network = torchvision.models.get_model(
        "ssdlite320_mobilenet_v3_large",
        num_classes=CLASSES + 1,
        weights=None,
        weights_backbone=None,
    )
    return Torchvision(network, 1)


class YOLOX(nn.Module):
    """The authors' nano, which takes blue, green and red."""

    def __init__(self):
        super().__init__()
        from yolox.models import YOLOPAFPN, YOLOXHead

        self.network = nn.Module()
        self.network.backbone = YOLOPAFPN(0.33, 0.25, depthwise=True)
        self.network.head = YOLOXHead(CLASSES, 0.25, depthwise=True)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03

    def loss(self, images, labels):
        self.network.train()
        maps = self.network.backbone(images.flip(1))
        return self.network.head(maps, labels, images)[0]

    def found(self, images):
        from yolox.utils import postprocess

        self.network.eval()
        said = self.network.head(self.network.backbone(images.flip(1)))
        edges = torch.tensor([images.shape[3], images.shape[2]] * 2)
        return [
            (
                torch.minimum(one[:100, :4].clamp(min=0), edges),
                one[:100, 4] * one[:100, 5],
                one[:100, 6].long(),
            )
            for one in postprocess(said, CLASSES, 0.01, 0.65)
        ]

    def targets(self, found, _):
        labels = torch.zeros(len(found), max(len(boxes) for boxes, _ in found), 5)
        for i, (boxes, classes) in enumerate(found):
            corner, end = torch.from_numpy(boxes).split(2, dim=1)
            numbers = torch.from_numpy(classes)[:, None]
            labels[i, : len(boxes)] = torch.cat(
                [numbers, (corner + end) / 2, end - corner], 1
            )
        return labels


DETECTORS = {
    "retinanet_resnet18": retinanet_resnet18,
    "ssdlite320": ssdlite320,
    "yolox_nano": YOLOX,
    "maskrcnn_resnet18": maskrcnn_resnet18,
}


def detector(row, shape, layout=torch.contiguous_format):
    """One of `DETECTORS`, images, and what is to be found in them."""
    model = DETECTORS[row]()
    state = model.network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            weight = inputs.weight(name, tuple(value.shape), GAIN)
            state[name] = torch.from_numpy(weight)
    model.network.load_state_dict(state, strict=True)
    model.network.to(memory_format=layout)
    count, height, width, _ = shape
    images = torch.from_numpy(inputs.images(height, width, count=count))
    images = images.movedim(-1, 1).contiguous(memory_format=layout)
    return model, images, model.targets(objects(row, shape), (height, width))


def training(row, shape, layout):
    """`count -> seconds of a step`: gradients of the loss, and momentum."""
    model, images, targets = detector(row, shape, layout)
    optimizer = torch.optim.SGD(model.network.parameters(), 1e-5, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        model.loss(images, targets).backward()
        optimizer.step()

    return functools.partial(timed, step)


def inference(row, shape, layout):
    """`count -> seconds of a step`: from images to boxes."""
    model, images, _ = detector(row, shape, layout)

    def step():
        with torch.inference_mode():
            model.found(images)

    return functools.partial(timed, step)


def timed(step, count):
    started = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - started) / count


def begin():
    """Versions, and whose suppression is timed."""
    versions = f"{torch.__version__}, torchvision {torchvision.__version__}"
    return versions, compile_suppression()


def make(kind, row, shape):
    """Prepare the faster layout of `training` or `inference`; the seconds of a step in
    it, and its name."""
    global prepared
    trials = []
    for layout in (torch.channels_last, torch.contiguous_format):
        steps_of = {"training": training, "inference": inference}[kind](
            row, shape, layout
        )
        steps_of(1)
        trials.append((min(steps_of(1) for _ in range(3)), str(layout), steps_of))
    seconds, layout, prepared = min(trials, key=lambda trial: trial[0])
    return seconds, layout


def steps(count):
    """Take so many steps; seconds of one."""
    return prepared(count)


def peak_of(count):
    """Bytes that this process holds at most while it takes so many steps."""
    return peak(prepared, count)
