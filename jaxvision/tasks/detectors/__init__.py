"""What surrounds the network of a detector, for `tasks.detection`."""

from jaxvision.tasks.detectors.anchor_fit import fit_of_anchors
from jaxvision.tasks.detectors.detector import Detector, Objects
from jaxvision.tasks.detectors.detr import detr
from jaxvision.tasks.detectors.fcos import fcos
from jaxvision.tasks.detectors.retinanet import retinanet
from jaxvision.tasks.detectors.ssd import ssd, ssdlite
from jaxvision.tasks.detectors.yolox import yolox

__all__ = [
    "Detector",
    "Objects",
    "detr",
    "fcos",
    "fit_of_anchors",
    "retinanet",
    "ssd",
    "ssdlite",
    "yolox",
]
