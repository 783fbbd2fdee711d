"""The PyTorch side of `ops`: each operation and its gradients, in channels-last."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

OPS: dict[str, Callable[..., Any]] = {
    "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "unpooled": lambda x, kernel_size: F.max_unpool2d(
        *F.max_pool2d(x, kernel_size, return_indices=True), kernel_size
    ),
}
"""Operations that are not a function of `torch.nn.functional` by their name."""

prepared: Any = None
"""The operation without arguments, its operands and its output, from `make` on."""


def version():
    return torch.__version__


def make(name, images, kernel, options):
    """Prepare an operation on operands of the shapes [B,H,W,C] and [K,K,C,O]."""
    global prepared
    batch, height, width, channels = images
    operands = [torch.randn(batch, channels, height, width)]
    if kernel:
        *reach, taken, made = kernel
        ends = (taken, made) if "transpose" in name else (made, taken)
        operands.append(torch.randn(*ends, *reach))
    operands = [
        each.to(memory_format=torch.channels_last).requires_grad_() for each in operands
    ]
    op = OPS.get(name) or getattr(F, name)

    def function():
        return op(*operands, **options)

    prepared = function, operands, function()


def seconds(part, calls):
    """Seconds of one call.

    Part 0 is the output, part i its gradient with respect to operand i - 1.
    """
    function, operands, output = prepared
    dy = torch.randn_like(output)
    started = time.perf_counter()
    for _ in range(calls):
        if part == 0:
            with torch.no_grad():
                function()
        else:
            torch.autograd.grad(output, operands[part - 1], dy, retain_graph=True)
    return (time.perf_counter() - started) / calls
