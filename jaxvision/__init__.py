"""Computer vision research in JAX: pure functions composed by one short file each."""

__version__ = "0.1.0"
