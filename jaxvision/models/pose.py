"""Every network for keypoints by its name."""

from jaxvision.models import hrnet, simple_baseline
from jaxvision.models.variant import Variant

VARIANTS: dict[str, Variant] = {**hrnet.VARIANTS, **simple_baseline.VARIANTS}
