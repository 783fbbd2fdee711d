"""Every detector by its name."""

from jaxvision.models import detr, fcos, rcnn, retinanet, ssd, ssdlite, yolox
from jaxvision.models.variant import Variant

VARIANTS: dict[str, Variant] = {
    **detr.VARIANTS,
    **fcos.VARIANTS,
    **rcnn.VARIANTS,
    **retinanet.VARIANTS,
    **ssd.VARIANTS,
    **ssdlite.VARIANTS,
    **yolox.VARIANTS,
}
