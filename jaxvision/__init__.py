"""Computer vision research in JAX: pure functions composed by one short file each."""

from jaxvision.flags import ask_for_onednn

__version__ = "0.1.0"

ask_for_onednn()
