"""The PyTorch side of `imagenet_throughput`, for another interpreter.

It is run by its path for each measurement.  It reads a request, which is a line of
JSON, and writes the throughput, peak memory and time to compile as another.  The models
are torchvision's and timm's, under torch.compile and autocast to bfloat16,
channels-last, with fused optimisers.
"""

import contextlib
import json
import statistics
import sys
import time

import torch
import torchvision
from torch import nn

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")


def make_model(name, size):
    if name in torchvision.models.list_models():
        options = {"image_size": size} if name.startswith("vit_") else {}
        return torchvision.models.get_model(name, weights=None, **options)
    try:
        import timm
    except ImportError:
        if name != "vit_small_patch16_224":
            raise
        return torchvision.models.VisionTransformer(size, 16, 12, 6, 384, 1536)
    options = {"img_size": size} if name.startswith("vit_") else {}
    return timm.create_model(name, **options)


def train(model, batch_size, image_size, steps, adamw, mode, **_):
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    net = make_model(model, image_size)
    net = net.to(DEVICE, memory_format=torch.channels_last).train()
    images = torch.randn(batch_size, 3, image_size, image_size, device=DEVICE)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch_size,), device=DEVICE)
    fused = True if ON_GPU else None
    optimizer = (
        torch.optim.AdamW(net.parameters(), 1e-3, fused=fused)
        if adamw
        else torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9, fused=fused)
    )
    amp = torch.autocast("cuda", torch.bfloat16) if ON_GPU else contextlib.nullcontext()

    def loss_of(images, labels):
        with amp:
            return nn.functional.cross_entropy(net(images), labels)

    compiled = loss_of if mode == "eager" else torch.compile(loss_of, mode=mode)

    def run(count):
        started = time.perf_counter()
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            compiled(images, labels).backward()
            optimizer.step()
        if ON_GPU:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    compile_seconds = run(1)
    run(3)
    part = max(1, steps // 3)
    seconds = statistics.median(run(part) for _ in range(3))
    return {
        "images_per_second": part * batch_size / seconds,
        "peak_bytes": torch.cuda.max_memory_allocated() if ON_GPU else None,
        "compile_seconds": compile_seconds,
        "mode": mode,
        "version": torch.__version__,
    }


if __name__ == "__main__":
    print(json.dumps(train(**json.loads(sys.stdin.readline()))))
