"""Networks: one architecture per file, variants as a table at its end."""

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
    "constants",
    "create",
    "default_input",
    "from_linen",
    "names",
    "paper",
    "sources",
    "timm",
]
