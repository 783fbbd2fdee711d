"""Networks: one architecture per file, variants as a table at its end.

model = models.create("resnet50", num_classes=10)
variables = model.init(key, images)
outputs, _ = model.apply(variables, images)
maps = [outputs[level.name] for level in models.levels("resnet50").values()]
"""

from jaxvision.models.levels import Level, levels
from jaxvision.models.linen import from_linen
from jaxvision.models.nnx_modules import from_nnx
from jaxvision.models.registry import (
    constants,
    create,
    default_input,
    names,
    normalisation,
    paper,
    sources,
    timm,
)

__all__ = [
    "Level",
    "constants",
    "create",
    "default_input",
    "from_linen",
    "from_nnx",
    "levels",
    "names",
    "normalisation",
    "paper",
    "sources",
    "timm",
]
