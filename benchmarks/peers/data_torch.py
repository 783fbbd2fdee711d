"""The PyTorch side of `data`: a DataLoader over torchvision's transforms of ImageNet.

The transforms are written here as torchvision has them for Pillow images, so that
torchvision need not be installed.
"""

import math
import time
from typing import Any

import numpy as np
import torch
from data_pillow import mirror, read_crop

torch.set_num_threads(1)

prepared: Any = None
"""The data set and the batch size, from `begin` on."""
loaders: dict[int, torch.utils.data.DataLoader] = {}
"""By the number of workers; each is made on first use and keeps its workers."""


class Photos(torch.utils.data.Dataset):
    """RandomResizedCrop, RandomHorizontalFlip, ToTensor and Normalize."""

    def __init__(self, files, side, mean, std):
        self.files, self.side, self.mean, self.std = files, side, mean, std

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        image = read_crop(self.files[i], self.side, draw_box)
        if torch.rand(1) < 0.5:
            image = mirror(image)
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
        pixels = pixels.permute((2, 0, 1)).contiguous().to(torch.float32).div(255)
        mean = torch.as_tensor(self.mean, dtype=pixels.dtype).view(-1, 1, 1)
        std = torch.as_tensor(self.std, dtype=pixels.dtype).view(-1, 1, 1)
        return pixels.clone().sub_(mean).div_(std), 0


def draw_box(width, height):
    """Left, top, right and bottom of a random crop, drawn by PyTorch."""
    log_ratio = torch.log(torch.tensor((3 / 4, 4 / 3)))
    for _ in range(10):
        area = width * height * torch.empty(1).uniform_(0.08, 1).item()
        ratio = torch.exp(torch.empty(1).uniform_(log_ratio[0], log_ratio[1])).item()
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = torch.randint(0, height - h + 1, size=(1,)).item()
            left = torch.randint(0, width - w + 1, size=(1,)).item()
            return left, top, left + w, top + h
    return 0, 0, width, height


def begin(files, batch_size, side, mean, std):
    global prepared
    prepared = Photos(files, side, mean, std), batch_size


def rate(workers):
    """Images per second of wall time and of CPU time, over all files once."""
    if workers not in loaders:
        photos, batch_size = prepared
        loaders[workers] = torch.utils.data.DataLoader(
            photos,
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
    wall, cpu = time.perf_counter(), time.process_time()
    images = sum(len(labels) for _, labels in loaders[workers])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return images / wall, images / cpu
