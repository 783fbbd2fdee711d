"""Networks that neither torchvision nor timm has, defined by their papers in PyTorch.

Names of parameters are those of the weights that `pretrained.save` writes.  Dense
layers flatten maps with their channels last, as the weights of these networks do.
"""

import functools
import itertools
import math

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import vision_transformer
from torchvision.transforms.functional import center_crop


class CifarBlock(nn.Module):
    """He et al. 2016, https://arxiv.org/abs/1512.03385, figure 2, with option A."""

    def __init__(self, taken, made, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(taken, made, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.stride, self.new = stride, made - taken

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(shortcut, [0, 0, 0, 0, self.new // 2, self.new // 2]))


class CifarResNet(nn.Module):
    """The same, section 4.2."""

    def __init__(self, depth):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        taken = 16
        for stage, made in enumerate((16, 32, 64)):
            blocks = []
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(CifarBlock(taken, made, stride))
                taken = made
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    """Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146, figure 1d."""

    def __init__(self, taken, made, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(taken)
        self.conv1 = nn.Conv2d(taken, made, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, padding=1, bias=False)
        if taken != made:
            self.shortcut = nn.Conv2d(taken, made, 1, stride, bias=False)

    def forward(self, x):
        y = F.relu(self.bn1(x))
        shortcut = self.shortcut(y) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + shortcut


class WideResNet(nn.Module):
    """The same, table 1."""

    def __init__(self, depth, widening):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        widths = [16, *(16 * widening * 2**stage for stage in range(3))]
        for stage, (taken, made) in enumerate(itertools.pairwise(widths), 1):
            further = [WideBlock(made, made, 1) for _ in range((depth - 4) // 6 - 1)]
            first = WideBlock(taken, made, 1 if stage == 1 else 2)
            self.add_module(f"layer{stage}", nn.Sequential(first, *further))
        self.bn = nn.BatchNorm2d(made)
        self.fc = nn.Linear(made, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.bn(x)).mean((2, 3)))


def resnet_cifar(name):
    """torchvision's, begun as He et al. 2016 begin those for CIFAR."""
    model = torchvision.models.get_model(name, num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


class PlainViT(nn.Module):
    """Beyer et al. 2022, https://arxiv.org/abs/2205.01580, of torchvision's blocks."""

    def __init__(self):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, 384, 16, 16)
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        self.encoder = nn.Module()
        self.encoder.layers = nn.Sequential()
        for i in range(12):
            block = vision_transformer.EncoderBlock(6, 384, 1536, 0.0, 0.0, norm)
            self.encoder.layers.add_module(f"encoder_layer_{i}", block)
        self.encoder.ln = norm(384)
        self.heads = nn.Sequential()
        self.heads.add_module("pre_logits", nn.Linear(384, 384))
        self.heads.add_module("act", nn.Tanh())
        self.heads.add_module("head", nn.Linear(384, 1000))

    def forward(self, x):
        x = self.conv_proj(x)
        positions = torch.empty(x.shape[1:])
        for channel, row, column in itertools.product(*map(range, positions.shape)):
            wave, place = divmod(channel, 96)
            angle = (row if wave >= 2 else column) / 10_000 ** (place / 95)
            values = math.sin(angle), math.cos(angle)
            positions[channel, row, column] = values[wave % 2]
        tokens = (x + positions).flatten(2).movedim(1, 2)
        return self.heads(self.encoder.ln(self.encoder.layers(tokens)).mean(1))


class LeNet5(nn.Module):
    """LeCun et al. 1998, https://doi.org/10.1109/5.726791, section II.B, with a full
    C3, subsampling without weights and a linear output."""

    def __init__(self, activation, pool):
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.c5, self.f6 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)
        self.activation, self.pool = activation, pool

    def forward(self, x):
        x = self.pool(self.activation(self.c1(x)), 2)
        x = self.pool(self.activation(self.c3(x)), 2)
        x = self.activation(self.c5(flat(x)))
        return self.output(self.activation(self.f6(x)))


class ConvNet(nn.Module):
    """INPUT → [[CONV → RELU]·N → POOL]·M → [FC → RELU]·K → FC for N = 1, M = 2, K = 1,
    with 32 and 64 channels and 128 hidden units."""

    def __init__(self):
        super().__init__()
        self.Conv_0 = nn.Conv2d(3, 32, 3, padding=1)
        self.Conv_1 = nn.Conv2d(32, 64, 3, padding=1)
        self.Dense_0, self.Dense_1 = nn.Linear(64 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.Conv_0(x)), 2)
        x = F.max_pool2d(F.relu(self.Conv_1(x)), 2)
        return self.Dense_1(F.relu(self.Dense_0(flat(x))))


class MLP(nn.Module):
    """Rumelhart et al. 1986, https://doi.org/10.1038/323533a0; without hidden layers
    Rosenblatt 1958, https://doi.org/10.1037/h0042519."""

    def __init__(self, *sizes):
        super().__init__()
        for i, (taken, made) in enumerate(itertools.pairwise(sizes)):
            self.add_module(f"Dense_{i}", nn.Linear(taken, made))

    def forward(self, x):
        *hidden, last = self.children()
        x = flat(x)
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


class UpConv(nn.Module):
    """Each pixel makes four: a transposed convolution whose weights have their outputs
    first, [made,taken,2,2]."""

    def __init__(self, taken, made):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(made, taken, 2, 2))
        self.bias = nn.Parameter(torch.empty(made))

    def forward(self, x):
        weight = self.weight.transpose(0, 1)
        return F.conv_transpose2d(x, weight, self.bias, stride=2)


class UNet(nn.Module):
    """Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, figure 1, padded, with
    batch normalisation and a quarter of the channels."""

    def __init__(self):
        super().__init__()
        widths = (16, 32, 64, 128)
        taken = 3
        for level, made in enumerate(widths):
            self.add_module(f"down{level + 1}", self.twice(taken, made))
            taken = made
        for level, made in reversed(list(enumerate(widths[:-1]))):
            self.add_module(f"up{level + 1}", self.twice(2 * made, made))
            self.get_submodule(f"up{level + 1}").conv = UpConv(2 * made, made)
        self.scores = nn.Conv2d(16, 10, 1)

    @staticmethod
    def twice(taken, made):
        layers = nn.Module()
        for i, channels in enumerate((taken, made)):
            conv = nn.Conv2d(channels, made, 3, padding=1, bias=False)
            layers.add_module(str(i), nn.Sequential(conv, nn.BatchNorm2d(made)))
        return layers

    def forward(self, x):
        levels = []
        for level in (self.down1, self.down2, self.down3, self.down4):
            x = F.max_pool2d(x, 2) if levels else x
            x = self.convolved(level, x)
            levels.append(x)
        for level, beside in zip(
            (self.up3, self.up2, self.up1), levels[-2::-1], strict=True
        ):
            x = self.convolved(level, torch.cat([beside, level.conv(x)], 1))
        return self.scores(x)

    @staticmethod
    def convolved(level, x):
        for i in ("0", "1"):
            x = F.relu(level.get_submodule(i)(x))
        return x


class RonnebergerUNet(UNet):
    """The same figure as it is drawn: without padding, crops before concatenation."""

    def __init__(self):
        nn.Module.__init__(self)
        widths = (64, 128, 256, 512, 1024)
        taken = 3
        for level, made in enumerate(widths):
            self.add_module(f"down{level + 1}", self.twice(taken, made))
            taken = made
        for level, made in reversed(list(enumerate(widths[:-1]))):
            self.add_module(f"up{level + 1}", self.twice(2 * made, made))
            self.get_submodule(f"up{level + 1}").conv = UpConv(2 * made, made)
        self.scores = nn.Conv2d(64, 2, 1)

    @staticmethod
    def twice(taken, made):
        layers = nn.Module()
        layers.add_module("0", nn.Conv2d(taken, made, 3))
        layers.add_module("1", nn.Conv2d(made, made, 3))
        return layers

    def forward(self, x):
        levels = []
        for i in range(1, 6):
            x = F.max_pool2d(x, 2) if levels else x
            x = self.convolved(self.get_submodule(f"down{i}"), x)
            levels.append(x)
        for i in range(4, 0, -1):
            level = self.get_submodule(f"up{i}")
            x = level.conv(x)
            beside = center_crop(levels[i - 1], x.shape[2:])
            x = self.convolved(level, torch.cat([beside, x], 1))
        return self.scores(x)


def fcn(name):
    """Long et al. 2015, https://arxiv.org/abs/1411.4038, of torchvision's VGG16 or
    AlexNet, with the padding and the crops of the authors' networks."""
    vgg = name != "fcn32s_alexnet"
    model = torchvision.models.vgg16() if vgg else torchvision.models.alexnet()
    model.features[0].padding = (100, 100)
    for layer in model.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
    dense, window, channels = ((0, 3, 6), 7, 512) if vgg else ((1, 4, 6), 6, 256)
    shapes = ((channels, 4096, window), (4096, 4096, 1), (4096, 21, 1))
    for i, shape in zip(dense, shapes, strict=True):
        model.classifier[i] = nn.Conv2d(*shape)
    model.avgpool = nn.Identity()

    def upscore(size, stride):
        return nn.ConvTranspose2d(21, 21, size, stride, bias=False)

    if name == "fcn32s":
        model.upscore = upscore(64, 32)
    elif name == "fcn32s_alexnet":
        model.upscore = upscore(63, 32)
    else:
        model.upscore2 = upscore(4, 2)
        model.score_pool4 = nn.Conv2d(512, 21, 1)
    if name == "fcn16s":
        model.upscore16 = upscore(32, 16)
    elif name == "fcn8s":
        model.upscore_pool4 = upscore(4, 2)
        model.score_pool3 = nn.Conv2d(256, 21, 1)
        model.upscore8 = upscore(16, 8)

    def cut(x, offset, like):
        height, width = like.shape[2:]
        return x[:, :, offset : offset + height, offset : offset + width]

    def forward(images):
        pools, x = [], images
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(x)
        scores = model.classifier(x)
        if name in ("fcn32s", "fcn32s_alexnet"):
            return cut(model.upscore(scores), 19 if vgg else 18, images)
        scores = model.upscore2(scores)
        scores = scores + cut(model.score_pool4(pools[3]), 5, scores)
        if name == "fcn16s":
            return cut(model.upscore16(scores), 27, images)
        scores = model.upscore_pool4(scores)
        scores = scores + cut(model.score_pool3(pools[2]), 9, scores)
        return cut(model.upscore8(scores), 31, images)

    model.forward = forward
    return model


class SegNet(nn.Module):
    """Badrinarayanan et al. 2017, https://arxiv.org/abs/1511.00561, figure 2, whose
    encoder is torchvision's VGG16 with batch normalisation."""

    def __init__(self):
        super().__init__()
        self.features = torchvision.models.vgg16_bn().features
        widths, depths, taken = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3), 512
        for stage in range(5, 0, -1):
            made = [widths[stage - 1]] * (depths[stage - 1] - 1)
            made += [widths[stage - 2]] if stage > 1 else []
            layers = []
            for width in made:
                layers.append(normalised(taken, width, 3))
                taken = width
            self.add_module(f"decoder{stage}", nn.Sequential(*layers))
        self.scores = nn.Conv2d(64, 11, 3, padding=1)

    def forward(self, x):
        pooled = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                size = x.shape[2:]
                x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
                pooled.append((indices, size))
            else:
                x = layer(x)
        for stage in range(5, 0, -1):
            indices, size = pooled.pop()
            x = F.max_unpool2d(x, indices, 2, output_size=size)
            for layer in self.get_submodule(f"decoder{stage}"):
                x = F.relu(layer(x))
        return self.scores(x)


class SegNetBasic(nn.Module):
    """The same, section 3.1."""

    def __init__(self):
        super().__init__()
        for stage in range(1, 5):
            taken = 3 if stage == 1 else 64
            self.add_module(f"encoder{stage}", normalised(taken, 64, 7))
            self.add_module(f"decoder{stage}", normalised(64, 64, 7))
        self.scores = nn.Conv2d(64, 11, 1)

    def forward(self, x):
        pooled = []
        for stage in range(1, 5):
            x = F.relu(self.get_submodule(f"encoder{stage}")(x))
            size = x.shape[2:]
            x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            pooled.append((indices, size))
        for stage in range(4, 0, -1):
            indices, size = pooled.pop()
            x = F.max_unpool2d(x, indices, 2, output_size=size)
            x = self.get_submodule(f"decoder{stage}")(x)
        return self.scores(x)


def normalised(taken, made, size):
    conv = nn.Conv2d(taken, made, size, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(made))


def flat(x):
    return x.movedim(1, -1).flatten(1) if x.ndim == 4 else x


DEFINITIONS = {
    **{f"resnet{n}": lambda n=n: CifarResNet(n) for n in (20, 32, 44, 56, 110)},
    **{
        f"resnet{n}_cifar": lambda n=n: resnet_cifar(f"resnet{n}") for n in (18, 34, 50)
    },
    **{
        f"wrn_{depth}_{widening}": lambda size=(depth, widening): WideResNet(*size)
        for depth, widening in ((16, 4), (16, 8), (28, 10), (40, 4))
    },
    "vit_s16_plain": PlainViT,
    "lenet5": lambda: LeNet5(torch.tanh, F.avg_pool2d),
    "lenet5_relu": lambda: LeNet5(F.relu, F.max_pool2d),
    "convnet": ConvNet,
    "perceptron": lambda: MLP(28 * 28 * 3, 10),
    "mlp": lambda: MLP(28 * 28 * 3, 300, 100, 10),
    "unet_small": UNet,
    "unet_ronneberger": RonnebergerUNet,
    **{
        name: lambda name=name: fcn(name)
        for name in ("fcn32s", "fcn16s", "fcn8s", "fcn32s_alexnet")
    },
    "segnet": SegNet,
    "segnet_basic": SegNetBasic,
}
"""By the names of our registry."""
