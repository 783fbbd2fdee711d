"""What surrounds the network of a detector, for `tasks.detection`."""

from jaxvision.tasks.detectors.anchor_fit import fit_of_anchors
from jaxvision.tasks.detectors.detector import Detector, Objects, RegionHead, Regions
from jaxvision.tasks.detectors.detr import detr
from jaxvision.tasks.detectors.fcos import fcos
from jaxvision.tasks.detectors.keypoints import keypoint_rcnn
from jaxvision.tasks.detectors.masks import mask_rcnn
from jaxvision.tasks.detectors.rcnn import fast_rcnn, faster_rcnn, faster_rcnn_mobile
from jaxvision.tasks.detectors.retinanet import retinanet
from jaxvision.tasks.detectors.ssd import ssd, ssdlite
from jaxvision.tasks.detectors.yolox import yolox

__all__ = [
    "Detector",
    "Objects",
    "RegionHead",
    "Regions",
    "detr",
    "fast_rcnn",
    "faster_rcnn",
    "faster_rcnn_mobile",
    "fcos",
    "fit_of_anchors",
    "keypoint_rcnn",
    "mask_rcnn",
    "retinanet",
    "ssd",
    "ssdlite",
    "yolox",
]
