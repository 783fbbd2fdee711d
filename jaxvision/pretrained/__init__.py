"""Published weights, loaded and saved without the framework they come from.

variables = pretrained.load("resnet50", "resnet50-11ad3fa6.pth")
images = pretrained.preparation("resnet50", "resnet50-11ad3fa6.pth")
pretrained.save("mine.safetensors", "resnet50", variables)
"""

from jaxvision.pretrained.loading import load, save
from jaxvision.pretrained.preparing import class_names, preparation, prepared
from jaxvision.pretrained.reading import read

__all__ = ["class_names", "load", "preparation", "prepared", "read", "save"]
