"""Networks: one architecture per file, variants as a table at its end."""

from jaxvision.models.registry import create, default_input, from_linen, names

__all__ = ["create", "default_input", "from_linen", "names"]
