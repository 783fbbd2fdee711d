"""Every detector by its name."""

from jaxvision.models import detr, fcos, retinanet, ssd, ssdlite, yolox
from jaxvision.models.variant import Variant

VARIANTS: dict[str, Variant] = {
    **detr.VARIANTS,
    **fcos.VARIANTS,
    **retinanet.VARIANTS,
    **ssd.VARIANTS,
    **ssdlite.VARIANTS,
    **yolox.VARIANTS,
}
