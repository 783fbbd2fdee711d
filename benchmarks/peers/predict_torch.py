"""The PyTorch side of `predict`: timm's model, transform and a DataLoader."""

import itertools
import sys
import time
from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import create_transform


class Photographs(torch.utils.data.Dataset):
    def __init__(self, folder, transform):
        self.files, self.transform = sorted(Path(folder).rglob("*.JPEG")), transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with Image.open(self.files[i]) as image:
            return self.transform(image.convert("RGB"))


def prepare(name, weights, size, resize, interpolation, mean, std):
    """The model, and how its images are prepared."""
    model = timm.create_model(name)
    if weights:
        state = torch.load(weights, weights_only=True)
        model.load_state_dict(state) if set(state) == set(model.state_dict()) else None
    transform = create_transform(
        (3, size, size),
        is_training=False,
        interpolation=interpolation,
        crop_pct=size / resize,
        mean=mean,
        std=std,
    )
    return model.eval(), transform


def predict(model, loader, layout):
    seen = 0
    with torch.inference_mode():
        for images in loader:
            probabilities = model(images.to(memory_format=layout)).softmax(-1)
            seen += len(probabilities.topk(3).indices)
    return seen


def rate(name, weights, folder, batch_size, how):
    """Images per second by the fastest of the layouts and numbers of workers."""
    model, transform = prepare(name, weights, **how)
    photographs, best = Photographs(folder, transform), 0.0
    for workers, layout in itertools.product(
        (0, 2), (torch.contiguous_format, torch.channels_last)
    ):
        loader = torch.utils.data.DataLoader(
            photographs, batch_size, num_workers=workers
        )
        model = model.to(memory_format=layout)
        with torch.inference_mode():
            model(torch.zeros(batch_size, 3, how["size"], how["size"]))
        started = time.perf_counter()
        seen = predict(model, loader, layout)
        best = max(best, seen / (time.perf_counter() - started))
    return best


if __name__ == "__main__":  # from a cold start, as its user would write it
    name, folder, batch_size, size, resize, interpolation = sys.argv[1:]
    half = (0.5, 0.5, 0.5)
    model, transform = prepare(
        name, None, int(size), int(resize), interpolation, half, half
    )
    loader = torch.utils.data.DataLoader(
        Photographs(folder, transform), int(batch_size), num_workers=2
    )
    print(predict(model, loader, torch.contiguous_format))
