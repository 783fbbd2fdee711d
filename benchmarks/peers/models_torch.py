"""The PyTorch side of `models`: torchvision's and timm's models, eager and float32."""

import statistics
import time

import torch
import torchvision

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rates(name, batch_size, size, repeats):
    """Images per second, forward and in training; the median of the calls counts."""
    if name in torchvision.models.list_models():
        model = torchvision.models.get_model(name, weights=None)
    else:
        import timm

        model = timm.create_model(name)
    model = model.to(DEVICE)
    images = torch.randn(batch_size, 3, size, size, device=DEVICE)
    labels = torch.zeros(batch_size, dtype=torch.long, device=DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def forward():
        model.eval()
        with torch.no_grad():
            model(images)

    def training():
        model.train()
        outputs = model(images)
        outputs = getattr(outputs, "logits", outputs)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(outputs, labels).backward()
        optimizer.step()

    return {
        call.__name__: batch_size / median_seconds(call, repeats)
        for call in (forward, training)
    }


def median_seconds(call, repeats):
    """Of a call, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
