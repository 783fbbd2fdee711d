"""Every detector by its name."""

from jaxvision.models import fcos, retinanet
from jaxvision.models.variant import Variant

VARIANTS: dict[str, Variant] = {
    **fcos.VARIANTS,
    **retinanet.VARIANTS,
}
