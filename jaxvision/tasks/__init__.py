"""Tasks: what is to be learned, as values made of functions."""

from jaxvision.tasks.adversarial import adversarial
from jaxvision.tasks.classification import classification
from jaxvision.tasks.detection import Rule, detection
from jaxvision.tasks.detectors import (
    Detector,
    RegionHead,
    fast_rcnn,
    faster_rcnn,
    faster_rcnn_mobile,
    fcos,
    keypoint_rcnn,
    mask_rcnn,
    retinanet,
    ssd,
    ssdlite,
    yolox,
)
from jaxvision.tasks.explained import (
    scores_of_classes,
    scores_of_objects,
    scores_of_regions,
)
from jaxvision.tasks.keypoints import keypoints
from jaxvision.tasks.localisers import (
    Localiser,
    coordinates,
    heatmaps,
    mean_with_mirror_image,
    soft_argmax,
)
from jaxvision.tasks.map_views import with_scales, with_windows
from jaxvision.tasks.multilabel import multilabel
from jaxvision.tasks.reconstruction import reconstruction
from jaxvision.tasks.regression import regression
from jaxvision.tasks.segmentation import segmentation
from jaxvision.tasks.views import (
    five_crops,
    mean_of_classes,
    mirrored,
    ten_crops,
    with_views,
)

__all__ = [
    "Detector",
    "Localiser",
    "RegionHead",
    "Rule",
    "adversarial",
    "classification",
    "coordinates",
    "detection",
    "fast_rcnn",
    "faster_rcnn",
    "faster_rcnn_mobile",
    "fcos",
    "five_crops",
    "heatmaps",
    "keypoint_rcnn",
    "keypoints",
    "mask_rcnn",
    "mean_of_classes",
    "mean_with_mirror_image",
    "mirrored",
    "multilabel",
    "reconstruction",
    "regression",
    "retinanet",
    "scores_of_classes",
    "scores_of_objects",
    "scores_of_regions",
    "segmentation",
    "soft_argmax",
    "ssd",
    "ssdlite",
    "ten_crops",
    "with_scales",
    "with_views",
    "with_windows",
    "yolox",
]
