"""The PyTorch side of `mnist_99`: the same network and recipe, run eagerly."""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

prepared: Any = None
"""The arrays, the recipe and the memory layout, from `begin` on."""


def begin(file, recipe):
    """Read the arrays, and find the faster of two memory layouts."""
    global prepared
    with np.load(file) as stored:
        arrays = {name: torch.from_numpy(stored[name]) for name in stored}
    for name, array in arrays.items():
        is_images = name.endswith("images")
        arrays[name] = array.permute(0, 3, 1, 2) if is_images else array.long()
    trials = {
        layout: min(run(arrays, recipe, layout, 0, steps=50)[0] for _ in range(3))
        for layout in (torch.channels_last, torch.contiguous_format)
    }
    prepared = arrays, recipe, min(trials, key=trials.__getitem__)


def timed(seed):
    """Seconds, and how many of the test images are right."""
    arrays, recipe, layout = prepared
    return run(arrays, recipe, layout, seed)


def run(arrays, recipe, layout, seed, steps=None):
    """All of a run, or only so many of its steps, and the test."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    images, labels = arrays["train_images"], arrays["train_labels"]
    network = Network(images, recipe, layout)
    optimizer = torch.optim.Adam(
        network.parameters(), recipe["peak_lr"], recipe["betas"], fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak(recipe))
    rows = recipe["steps"] * recipe["batch_size"]
    epochs = -(-rows // len(images))
    order = torch.cat([torch.randperm(len(images)) for _ in range(epochs)])[:rows]
    for chosen in order.view(-1, recipe["batch_size"])[:steps]:
        logits = network(images[chosen])
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(
            logits, labels[chosen], label_smoothing=recipe["smoothing"]
        ).backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        right = sum(
            int((network(x).argmax(1) == y).sum())
            for x, y in zip(
                arrays["test_images"].split(500),
                arrays["test_labels"].split(500),
                strict=True,
            )
        )
    return time.perf_counter() - started, right


def share_of_peak(recipe):
    """`step -> share of the highest learning rate`: straight up, and down to zero."""
    rising_steps = recipe["warmup"] * recipe["steps"]
    falling_steps = (1 - recipe["warmup"]) * recipe["steps"]

    def share(step):
        return min(
            1, (step + 1) / rising_steps, (recipe["steps"] - step) / falling_steps
        )

    return share


class Network(nn.Module):
    def __init__(self, images, recipe, layout):
        super().__init__()
        count, channels, hidden = (recipe[k] for k in ("filters", "channels", "hidden"))
        self.layout = layout
        filters = whitening(images, count).contiguous(memory_format=layout)
        self.register_buffer("filters", filters)
        self.conv = nn.Conv2d(2 * count, channels, 3)
        self.hidden = nn.Linear(25 * channels, hidden)
        self.output = nn.Linear(hidden, 10)
        for layer in (self.conv, self.hidden, self.output):
            limit = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.weight, -limit, limit)
            nn.init.zeros_(layer.bias)
        self.to(memory_format=layout)

    def forward(self, x):
        x = standard(x).contiguous(memory_format=self.layout)
        x = F.relu(F.conv2d(x, self.filters, stride=2))
        x = F.relu(F.max_pool2d(self.conv(x), 2))
        x = F.relu(self.hidden(x.flatten(1)))
        return self.output(x)


def whitening(images, count):
    """Filters [2·count,1,5,5] with outputs of unit variance, and the same negated."""
    patches = F.unfold(standard(images[:2000]), 5, stride=2)
    patches = patches.transpose(1, 2).reshape(-1, 25)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    largest = directions[:, -count:] / torch.sqrt(variances[-count:] + 0.01)
    return torch.cat([largest, -largest], 1).T.reshape(2 * count, 1, 5, 5)


def standard(x):
    """About zero mean and unit variance over all pixels."""
    return (x.float() / 255 - 0.1307) / 0.3081
