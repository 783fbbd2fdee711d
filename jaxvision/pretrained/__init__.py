"""Published weights, loaded and saved without the framework they come from.

variables = pretrained.load("resnet50", "resnet50-11ad3fa6.pth")
outputs, _ = models.create("resnet50").apply(variables, images)
pretrained.save("mine.safetensors", "resnet50", variables)
"""

from jaxvision.pretrained.loading import load, save
from jaxvision.pretrained.reading import read

__all__ = ["load", "read", "save"]
