"""The PyTorch side of `cifar10_speedrun`: airbench's recipes, for another interpreter.

`cifar10_speedrun` calls its functions and passes the recipe with all its numbers.  It
does what airbench does, each part in the form that is fast in PyTorch: an epoch is
augmented at once, the network is compiled (on a GPU: fp16, channels-last), and the
optimiser is fused.
"""

import itertools
import math
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPE = torch.float16 if ON_GPU else torch.float32
prepared: Any = None
"""The network, recipe and data, from `begin` on."""


class Norm(nn.BatchNorm2d):
    """Without a scale, and in float32."""

    def __init__(self, features, decay):
        super().__init__(features, eps=1e-12, momentum=1 - decay)
        self.weight.requires_grad = False


class Group(nn.Module):
    def __init__(self, taken, made, recipe):
        super().__init__()
        count = recipe["convs"]
        sizes = [(taken, made)] + (count - 1) * [(made, made)]
        self.convs = nn.ModuleList(
            nn.Conv2d(c, o, 3, padding="same", bias=False) for c, o in sizes
        )
        self.norms = nn.ModuleList(Norm(made, recipe["norm_decay"]) for _ in sizes)

    def forward(self, x):
        x = shortcut = F.gelu(self.norms[0](F.max_pool2d(self.convs[0](x), 2)))
        x = self.norms[1](self.convs[1](x))
        if len(self.convs) == 3:
            x = self.norms[2](self.convs[2](F.gelu(x))) + shortcut
        return F.gelu(x)


class Network(nn.Module):
    def __init__(self, recipe):
        super().__init__()
        widths = [24, *recipe["widths"]]
        self.muon = recipe["optimizer"]["kind"] == "Muon"
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        self.groups = nn.ModuleList(
            Group(taken, made, recipe) for taken, made in itertools.pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], 10, bias=False)
        self.to(DEVICE, DTYPE, memory_format=torch.channels_last)
        for module in self.modules():
            if isinstance(module, Norm):
                module.float()

    def forward(self, x, train_whitening=True):
        bias = self.whiten.bias
        x = F.conv2d(x, self.whiten.weight, bias if train_whitening else bias.detach())
        x = F.gelu(x)
        for group in self.groups:
            x = group(x)
        x = F.max_pool2d(x, 3).flatten(1)
        return self.head(x) * (1 / x.shape[1] if self.muon else 1 / 9)

    @torch.no_grad()
    def reset(self):
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | Norm):
                module.reset_parameters()
        for group in self.groups:
            for conv in group.convs:
                nn.init.dirac_(conv.weight[: conv.in_channels])
        if self.muon:
            self.head.weight /= self.head.weight.std()
        else:
            self.whiten.bias.zero_()

    @torch.no_grad()
    def init_whitening(self, images):
        patches = images.float().unfold(2, 2, 1).unfold(3, 2, 1)
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / torch.sqrt(values + 5e-4)).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))


def newton_schulz(matrix):
    """Three steps towards the nearest orthogonal matrix, in bf16 where that is fast."""
    x = matrix.bfloat16() if ON_GPU else matrix
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, filters, lr, momentum):
        super().__init__(filters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p.grad))
                buffer.mul_(group["momentum"]).add_(p.grad)
                update = p.grad.add(buffer, alpha=group["momentum"])
                p.mul_(math.sqrt(len(p)) / p.norm())
                matrix = newton_schulz(update.reshape(len(p), -1))
                p.add_(matrix.view(p.shape), alpha=-group["lr"])


def make_optimizers(net, recipe, per_epoch, steps):
    """The optimisers, and a function of the step that sets their learning rates."""
    rule, batch = recipe["optimizer"], recipe["batch_size"]
    whitening = min(3 * per_epoch, steps)
    filters = [conv.weight for group in net.groups for conv in group.convs]
    norms = [norm.bias for group in net.groups for norm in group.norms]
    options = dict(
        momentum=rule["momentum"], nesterov=True, fused=True if ON_GPU else None
    )

    def settings(params, rate, decay):
        return dict(params=params, lr=rate, weight_decay=decay / rate)

    if net.muon:
        decay, rate = rule["decay"] * batch, rule["bias_rate"]
        parts = [
            settings([net.whiten.bias], rate, decay),
            settings(norms, rate, decay),
            settings([net.head.weight], rule["head_rate"], decay),
        ]
        optimizers = [
            torch.optim.SGD(parts, **options),
            Muon(filters, rule["filter_rate"], rule["filter_momentum"]),
        ]

        def shape(step):
            return 1 - step / steps
    else:
        scale = 1024 * (1 + 1 / (1 - rule["momentum"]))
        rate, decay = rule["rate"] / scale, rule["decay"] * batch / scale
        parts = [
            settings([net.whiten.bias], rate, decay),
            settings([*filters, net.head.weight], rate, decay),
            settings(norms, rate * rule["bias_factor"], decay),
        ]
        optimizers = [torch.optim.SGD(parts, **options)]
        peak = int(rule["peak"] * steps)

        def shape(step):
            if step < peak:
                return rule["start"] + (1 - rule["start"]) * step / peak
            return 1 + (rule["end"] - 1) * (step - peak) / (steps - peak)

    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    full = [group["lr"] for group in groups]

    def set_rates(step):
        for group, rate in zip(groups, full, strict=True):
            group["lr"] = rate * shape(step)
        if net.muon:
            groups[0]["lr"] = full[0] * max(0, 1 - step / whitening)

    return optimizers, set_rates


class Average:
    """The slowly moving average of parameters and running statistics (Lookahead)."""

    def __init__(self, net):
        self.current = [v for v in net.state_dict().values() if v.is_floating_point()]
        self.kept = [v.clone() for v in self.current]

    @torch.no_grad()
    def pull(self, keep):
        torch._foreach_lerp_(self.kept, self.current, 1 - keep)
        torch._foreach_copy_(self.current, self.kept)


def normalise(images):
    """Bytes [N,H,W,3] to [N,3,H,W], channels-last in memory."""
    mean, std = (torch.tensor(v, device=DEVICE).view(1, 3, 1, 1) for v in (MEAN, STD))
    pixels = images.permute(0, 3, 1, 2).float() / 255
    return ((pixels - mean) / std).to(DTYPE, memory_format=torch.channels_last)


def epochs(images, recipe):
    """Yields all training images, augmented anew for each epoch.

    They are translated, have a square cut out, and are mirrored in every other epoch.
    """
    reach, hole = recipe["translate"], recipe["cutout"]
    count, side = len(images), images.shape[-1]
    chosen = torch.rand(count, device=DEVICE).view(-1, 1, 1, 1) < 0.5
    padded = F.pad(
        torch.where(chosen, images.flip(-1), images), 4 * (reach,), "reflect"
    )
    number = 0
    while True:
        moved = shift(padded, reach, side)
        moved = moved.flip(-1) if number % 2 else moved
        if hole:
            corner = torch.randint(side - hole + 1, (2, count, 1), device=DEVICE)
            away = torch.arange(side, device=DEVICE) - corner
            inside = (away >= 0) & (away < hole)
            blank = inside[0][:, None, :, None] & inside[1][:, None, None, :]
            moved = moved.masked_fill(blank, 0)
        yield moved
        number += 1


def shift(padded, reach, side):
    """A random crop of each image; those with the same offset are copied at once."""
    count = len(padded)
    offsets = torch.randint(2 * reach + 1, (2, count), device=DEVICE)
    rows = padded.new_empty(count, 3, side, padded.shape[-1])
    out = padded.new_empty(count, 3, side, side)
    rows = rows.to(memory_format=torch.channels_last)
    out = out.to(memory_format=torch.channels_last)
    if reach <= 2:
        for y in range(2 * reach + 1):
            for x in range(2 * reach + 1):
                mask = (offsets[0] == y) & (offsets[1] == x)
                out[mask] = padded[mask, :, y : y + side, x : x + side]
        return out
    for y in range(2 * reach + 1):
        mask = offsets[0] == y
        rows[mask] = padded[mask, :, y : y + side]
    for x in range(2 * reach + 1):
        mask = offsets[1] == x
        out[mask] = rows[mask, :, :, x : x + side]
    return out


def loss_of(logits, labels, recipe):
    return F.cross_entropy(
        logits, labels, label_smoothing=recipe["smoothing"], reduction="sum"
    )


def train(net, recipe, data, labels):
    """Train `net` by the recipe."""
    size, batch = len(data["train_images"]), recipe["batch_size"]
    per_epoch = size // batch
    steps = math.ceil(recipe["epochs"] * per_epoch)
    whitening = min(3 * per_epoch, steps)
    net.init_whitening(normalise(data["train_images"][:5000]))
    optimizers, set_rates = make_optimizers(net, recipe, per_epoch, steps)
    average = None if net.muon else Average(net)
    net.train()
    done = 0
    for images in epochs(normalise(data["train_images"]), recipe):
        order = torch.randperm(size, device=DEVICE)
        for i in range(per_epoch):
            chosen = order[i * batch : (i + 1) * batch]
            set_rates(done)
            logits = net(images[chosen], done < whitening)
            loss_of(logits, labels[chosen], recipe).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            done += 1
            if average and done % 5 == 0:
                average.pull(0.95**5 * (done / steps) ** 3)
            if done == steps:
                if average:
                    average.pull(1.0)
                return


@torch.no_grad()
def evaluate(net, data):
    """Test accuracy; scores are averaged over six views of each image."""
    net.eval()

    def both(images):
        return 0.5 * net(images, False) + 0.5 * net(images.flip(-1), False)

    right = 0
    images = normalise(data["test_images"])
    size = math.gcd(len(images), 2000)
    for part, labels in zip(
        images.split(size), data["test_labels"].split(size), strict=True
    ):
        padded = F.pad(part, (1, 1, 1, 1), "reflect")
        moved = both(padded[:, :, :-2, :-2]) + both(padded[:, :, 2:, 2:])
        logits = 0.5 * both(part) + 0.25 * moved
        right += (logits.argmax(1) == labels).sum()
    return int(right) / len(images)


def run(net, recipe, data, seed, labels=None):
    """Test accuracy, and the wall time in seconds of whitening, training and test."""
    torch.manual_seed(seed)
    net.reset()
    wait()
    started = time.perf_counter()
    train(net, recipe, data, data["train_labels"] if labels is None else labels)
    accuracy = evaluate(net, data)
    wait()
    return accuracy, time.perf_counter() - started


def wait():
    if ON_GPU:
        torch.cuda.synchronize()


def version():
    return torch.__version__


def begin(recipe, file, mode):
    """Compile the network, and warm it up by a run on labels that mean nothing.

    `mode` is torch.compile's; None is the best on a GPU, and on CPU not to compile.
    """
    global newton_schulz, prepared
    torch.backends.cudnn.benchmark = True
    with np.load(file) as arrays:
        data = {name: torch.from_numpy(arrays[name]).to(DEVICE) for name in arrays}
    data = {name: v.long() if "labels" in name else v for name, v in data.items()}
    net = Network(recipe)
    if mode is None and ON_GPU:
        mode = "max-autotune"
    if mode is not None:
        newton_schulz = torch.compile(newton_schulz)
        net.compile(mode=mode)
        labels = torch.randint(10, data["train_labels"].shape, device=DEVICE)
        run(net, recipe, data, 0, labels)
    prepared = net, recipe, data


def timed(seed):
    """Accuracy and seconds of a run of the recipe that `begin` was given."""
    net, recipe, data = prepared
    return run(net, recipe, data, seed)


def losses(recipe, file, per_epoch, steps):
    """Losses of some steps from given parameters on given batches, not augmented.

    The file has the parameters under our names, `filters` of the whitening layer, and
    for each step `images` [S,B,H,W,3] as floats and `labels` [S,B].
    """
    net = Network(recipe)
    with np.load(file) as arrays:
        given = {name: torch.from_numpy(arrays[name]) for name in arrays}
    with torch.no_grad():
        net.whiten.weight.copy_(given["filters"].permute(3, 2, 0, 1))
        net.whiten.bias.copy_(given["whiten"])
        net.head.weight.copy_(given["head"].T)
        convs = [conv for group in net.groups for conv in group.convs]
        norms = [norm for group in net.groups for norm in group.norms]
        for i, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
            conv.weight.copy_(given[f"conv{i}"].permute(3, 2, 0, 1))
            norm.bias.copy_(given[f"norm{i}"])
    optimizers, set_rates = make_optimizers(net, recipe, per_epoch, steps)
    average = None if net.muon else Average(net)
    found = []
    for done, (images, labels) in enumerate(
        zip(given["images"], given["labels"].long(), strict=True)
    ):
        set_rates(done)
        images = images.permute(0, 3, 1, 2).to(DEVICE, DTYPE)
        loss = loss_of(net(images, done < 3 * per_epoch), labels.to(DEVICE), recipe)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if average and (done + 1) % 5 == 0:
            average.pull(0.95**5 * ((done + 1) / steps) ** 3)
        found.append(float(loss) / len(labels))
    return found
