"""The PyTorch side of `speed`: its networks and their training steps, run eagerly."""

import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

prepared: Any = None
"""`count -> seconds of a step`, from `make` on."""


def conv(taken, made, kernel=3, strides=1, groups=1):
    return nn.Conv2d(
        taken, made, kernel, strides, kernel // 2, groups=groups, bias=False
    )


class LeNet5(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.c5, self.f6 = nn.Linear(400, 120), nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)

    def forward(self, x):
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2)
        x = torch.tanh(self.f6(torch.tanh(self.c5(x.flatten(1)))))
        return self.output(x)


class Padded(nn.Module):
    """The shortcut without parameters, option A of He et al. 2016."""

    def __init__(self, strides, new):
        super().__init__()
        self.strides, self.new = strides, new

    def forward(self, x):
        x = x[:, :, :: self.strides, :: self.strides]
        return F.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))


class Residual(nn.Module):
    def __init__(self, branch, shortcut, last=True):
        super().__init__()
        self.branch, self.shortcut, self.last = branch, shortcut, last

    def forward(self, x):
        y = self.shortcut(x) + self.branch(x)
        return F.relu_(y) if self.last else y


def basic(taken, width, strides, option_a):
    branch = nn.Sequential(
        conv(taken, width, 3, strides),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        conv(width, width),
        nn.BatchNorm2d(width),
    )
    return Residual(branch, shortcut(taken, width, strides, option_a)), width


def bottleneck(taken, width, strides, option_a):
    made = 4 * width
    branch = nn.Sequential(
        conv(taken, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        conv(width, width, 3, strides),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        conv(width, made, 1),
        nn.BatchNorm2d(made),
    )
    return Residual(branch, shortcut(taken, made, strides, option_a)), made


def shortcut(taken, made, strides, option_a):
    if taken == made and strides == 1:
        return nn.Identity()
    if option_a:
        return Padded(strides, made - taken)
    return nn.Sequential(conv(taken, made, 1, strides), nn.BatchNorm2d(made))


def resnet(block, depths, width, classes, large_stem, option_a=False):
    stem = conv(3, width, 7, 2) if large_stem else conv(3, width)
    layers, taken = [stem, nn.BatchNorm2d(width), nn.ReLU(True)], width
    if large_stem:
        layers.append(nn.MaxPool2d(3, 2, 1))
    for stage, depth in enumerate(depths):
        for i in range(depth):
            strides = 2 if stage and not i else 1
            layer, taken = block(taken, width * 2**stage, strides, option_a)
            layers.append(layer)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(taken, classes)]
    return nn.Sequential(*layers)


def mobilenet_v2(classes):
    layers, taken = [conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6(True)], 32
    for expansion, made, repetitions, first in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(repetitions):
            strides, wide, branch = 1 if i else first, taken * expansion, []
            if expansion > 1:
                branch += [conv(taken, wide, 1), nn.BatchNorm2d(wide), nn.ReLU6(True)]
            branch += [
                conv(wide, wide, 3, strides, wide),
                nn.BatchNorm2d(wide),
                nn.ReLU6(True),
                conv(wide, made, 1),
                nn.BatchNorm2d(made),
            ]
            branch = nn.Sequential(*branch)
            same = taken == made and strides == 1
            layers.append(Residual(branch, nn.Identity(), False) if same else branch)
            taken = made
    layers += [conv(320, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6(True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(1280, classes))


def twice(taken, width):
    return nn.Sequential(
        conv(taken, width),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        conv(width, width),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
    )


class UNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.down = nn.ModuleList([twice(3, 16), twice(16, 32), twice(32, 64)])
        self.middle = twice(64, 128)
        self.up = nn.ModuleList([twice(192, 64), twice(96, 32), twice(48, 16)])
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        levels = []
        for level in self.down:
            x = level(x)
            levels.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for level in self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = level(torch.cat([levels.pop(), x], 1))
        return self.head(x)


class TransposedUNet(nn.Module):
    """With transposed convolutions on the way up, as `unet_small`."""

    def __init__(self, classes):
        super().__init__()
        self.down = nn.ModuleList([twice(3, 16), twice(16, 32), twice(32, 64)])
        self.middle = twice(64, 128)
        self.up = nn.ModuleList(
            nn.ModuleList([twice(2 * n, n), nn.ConvTranspose2d(2 * n, n, 2, 2)])
            for n in (64, 32, 16)
        )
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        levels = []
        for level in self.down:
            x = level(x)
            levels.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for level, rise in self.up:
            x = level(torch.cat([levels.pop(), rise(x)], 1))
        return self.head(x)


QUARTER = (16, 32, 64, 128, 128)


def vgg16(normalise, **pooling):
    """The 13 convolutions of VGG16, a quarter as wide, and five poolings."""
    layers, taken = [], 3
    for width, depth in zip(QUARTER, (2, 2, 3, 3, 3), strict=True):
        for _ in range(depth):
            layers.append(nn.Conv2d(taken, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if normalise else []
            layers.append(nn.ReLU(True))
            taken = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True, **pooling))
    return nn.ModuleList(layers)


class SegNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder, self.decoder = vgg16(True, return_indices=True), nn.ModuleList()
        taken = QUARTER[-1]
        for stage, depth in zip(range(4, -1, -1), (3, 3, 3, 2, 2), strict=True):
            widths = [QUARTER[stage]] * (depth - 1)
            widths += [QUARTER[stage - 1]] if stage else []
            layers = []
            for made in widths:
                layers += [conv(taken, made), nn.BatchNorm2d(made), nn.ReLU(True)]
                taken = made
            self.decoder.append(nn.Sequential(*layers))
        self.head = nn.Conv2d(taken, classes, 3, padding=1)

    def forward(self, x):
        pooled = []
        for layer in self.encoder:
            if isinstance(layer, nn.MaxPool2d):
                size = x.shape[2:]
                x, indices = layer(x)
                pooled.append((indices, size))
            else:
                x = layer(x)
        for layers in self.decoder:
            indices, size = pooled.pop()
            x = layers(F.max_unpool2d(x, indices, 2, output_size=size))
        return self.head(x)


class FCN8s(nn.Module):
    """Padded so that every convolution keeps the size of its map."""

    def __init__(self, classes):
        super().__init__()
        self.encoder = vgg16(False)
        self.dense = nn.Sequential(
            nn.Conv2d(QUARTER[-1], 512, 7, padding=3),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Conv2d(512, 512, 1),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Conv2d(512, classes, 1),
        )

        def larger(factor):
            return nn.ConvTranspose2d(
                classes, classes, 2 * factor, factor, factor // 2, bias=False
            )

        self.up32, self.score16 = larger(2), nn.Conv2d(QUARTER[3], classes, 1)
        self.up16, self.score8 = larger(2), nn.Conv2d(QUARTER[2], classes, 1)
        self.up8 = larger(8)

    def forward(self, x):
        pooled = []
        for layer in self.encoder:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        x = self.up32(self.dense(x)) + self.score16(pooled[3])
        return self.up8(self.up16(x) + self.score8(pooled[2]))


class Resized(nn.Module):
    """The scores of a network of torchvision, which it gives by name."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


def fcn_resnet18(classes):
    from torchvision.models import resnet18
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    encoder = IntermediateLayerGetter(resnet18(), {"layer4": "out"})
    return Resized(FCN(encoder, FCNHead(512, classes)))


def deeplabv3_mobilenet_v3_large(classes):
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    return Resized(
        deeplabv3_mobilenet_v3_large(weights_backbone=None, num_classes=classes)
    )


NETWORKS = {
    "unet_small": TransposedUNet,
    "lenet5": LeNet5,
    "resnet20": lambda n: resnet(basic, (3, 3, 3), 16, n, False, option_a=True),
    "resnet18": lambda n: resnet(basic, (2, 2, 2, 2), 64, n, True),
    "resnet18_cifar": lambda n: resnet(basic, (2, 2, 2, 2), 64, n, False),
    "resnet50": lambda n: resnet(bottleneck, (3, 4, 6, 3), 64, n, True),
    "mobilenet_v2": mobilenet_v2,
    "unet": UNet,
    "segnet": SegNet,
    "fcn8s": FCN8s,
    "fcn_resnet18": fcn_resnet18,
    "deeplabv3_mobilenet_v3_large": deeplabv3_mobilenet_v3_large,
}


def network_steps(row, shape, classes, layout):
    """`count -> seconds of a step`, for a network in a memory layout."""
    batch, height, width, channels = shape
    network = NETWORKS[row](classes).to(memory_format=layout)
    images = torch.randn(batch, channels, height, width).to(memory_format=layout)
    logits = network(images)
    labels = torch.randint(0, classes, (batch, *logits.shape[2:]))
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)

    def timed(count):
        started = time.perf_counter()
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        return (time.perf_counter() - started) / count

    return timed


def evaluation_steps(network, shape, classes, size, layout):
    """`count -> seconds of a batch` of an evaluation: the network, its scores resized
    to the masks, the loss, and the confusion as torchvision's reference counts it."""
    batch, height, width, channels = shape
    network = NETWORKS[network](classes).eval().to(memory_format=layout)
    images = torch.randn(batch, channels, height, width).to(memory_format=layout)
    labels = torch.randint(0, classes, (batch, *size))
    labels[torch.rand(labels.shape) < 0.1] = 255
    confusion = torch.zeros(classes, classes, dtype=torch.int64)

    def timed(count):
        total = 0.0
        started = time.perf_counter()
        with torch.inference_mode():
            for _ in range(count):
                logits = F.interpolate(network(images), size=size, mode="bilinear")
                loss = F.cross_entropy(
                    logits, labels, ignore_index=255, reduction="sum"
                )
                total += loss.item()
                true, found = labels.flatten(), logits.argmax(1).flatten()
                known = true < classes
                cells = classes * true[known] + found[known]
                counts = torch.bincount(cells, minlength=classes**2)
                confusion.add_(counts.reshape(classes, classes))
        return (time.perf_counter() - started) / count

    return timed


def version():
    return torch.__version__


def make(row, shape, classes):
    """Prepare the faster layout; the seconds of a step in it, and its name."""
    return _faster(lambda layout: network_steps(row, shape, classes, layout))


def make_evaluation(network, shape, classes, size):
    """The same for the evaluation of a network."""
    return _faster(
        lambda layout: evaluation_steps(network, shape, classes, size, layout)
    )


def _faster(steps_in):
    global prepared
    trials = []
    for layout in (torch.channels_last, torch.contiguous_format):
        timed = steps_in(layout)
        timed(2)
        trials.append((min(timed(2) for _ in range(3)), str(layout), timed))
    seconds, layout, prepared = min(trials, key=lambda trial: trial[0])
    return seconds, layout


def steps(count):
    """Take so many steps; seconds of one."""
    return prepared(count)
