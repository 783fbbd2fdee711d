"""Computer vision research in JAX: pure functions composed by one short file each."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `import jaxvision` alone costs nothing.
    if name == "load":
        from jaxvision.runs.finished import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
