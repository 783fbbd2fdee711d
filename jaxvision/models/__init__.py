"""Networks: one architecture per file, variants as a table at its end."""

from jaxvision.models.levels import Level, levels
from jaxvision.models.linen import from_linen
from jaxvision.models.registry import (
    constants,
    create,
    default_input,
    names,
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
    "levels",
    "names",
    "paper",
    "sources",
    "timm",
]
