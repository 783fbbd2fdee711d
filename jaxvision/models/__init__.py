"""Networks: one architecture per file, variants as a table at its end.

model = models.create("resnet50", num_classes=10)
variables = model.init(key, images)
outputs, _ = model.apply(variables, images)
maps = [outputs[level.name] for level in models.levels("resnet50").values()]
"""

from jaxvision.models.backbone import into_backbone
from jaxvision.models.blocks import blocks
from jaxvision.models.encoder import BACKBONE, encode
from jaxvision.models.features import on_features
from jaxvision.models.frozen import frozen
from jaxvision.models.head import head, without
from jaxvision.models.levels import Level, levels
from jaxvision.models.linen import from_linen
from jaxvision.models.lora import LORA, lora, merge_lora
from jaxvision.models.nnx_modules import from_nnx
from jaxvision.models.registry import (
    constants,
    create,
    default_input,
    encoder_of,
    names,
    normalisation,
    paper,
    sources,
    timm,
)
from jaxvision.models.trunk import dense_as_convolutions, trunk

__all__ = [
    "BACKBONE",
    "LORA",
    "Level",
    "blocks",
    "constants",
    "create",
    "default_input",
    "dense_as_convolutions",
    "encode",
    "encoder_of",
    "from_linen",
    "from_nnx",
    "frozen",
    "head",
    "into_backbone",
    "levels",
    "lora",
    "merge_lora",
    "names",
    "normalisation",
    "on_features",
    "paper",
    "sources",
    "timm",
    "trunk",
    "without",
]
