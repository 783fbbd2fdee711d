"""The Pillow side of `data`: crop, flip and normalisation of one image at a time.

`data_torch` takes its reading and flipping from here.
"""

import math
import random

import numpy as np
from PIL import Image


def read_crop(path, side, draw_box):
    """The part of a file that is drawn, as a Pillow image of `side` × `side`."""
    with open(path, "rb") as file:
        image = Image.open(file).convert("RGB")
    box = draw_box(*image.size)
    return image.crop(box).resize((side, side), Image.Resampling.BILINEAR)


def mirror(image):
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def make_load(side, mean, std):
    """`path -> float32 [side,side,3]`, in plain Python and NumPy."""
    mean, std = np.array(mean, np.float32), np.array(std, np.float32)

    def load(path):
        image = read_crop(path, side, draw_box)
        if random.random() < 0.5:
            image = mirror(image)
        return (np.asarray(image, np.float32) / 255 - mean) / std

    return load


def draw_box(width, height):
    """Left, top, right and bottom of a random crop: Inception's, in ten attempts."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height
