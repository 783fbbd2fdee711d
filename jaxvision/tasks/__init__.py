"""Tasks: what is to be learned, as values made of functions."""

from jaxvision.tasks.classification import classification

__all__ = ["classification"]
