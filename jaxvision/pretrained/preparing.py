"""How images are prepared for published weights, which is known by the weights.

Who trained weights also chose how test images are resized and cropped, and other
choices cost up to a few percent.  They are known of torchvision's files, of the hub's
timm weights, which say it themselves, and of two other releases.
"""

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jaxvision import models
from jaxvision.data.feed.crops import Crop, resized_crop, uncropped
from jaxvision.data.feed.preparation import Preparation
from jaxvision.data.feed.resizing import Method, check_method
from jaxvision.errors import UsageError, check
from jaxvision.ops import augment
from jaxvision.pretrained import published, reading


class Central(NamedTuple):
    """The shorter side is resized to `resize`, and `size`² pixels are cut out."""

    resize: int
    size: int
    method: Method = "bilinear"


_RECIPE = Central(256, 224)
"""Of torchvision's first weights."""

_SECOND_RECIPE = Central(232, 224)
"""Of those that torchvision trained anew, most of the weights called V2."""

_TORCHVISION = {
    "convnext_small": Central(230, 224),
    "convnext_tiny": Central(236, 224),
    "efficientnet_b0": Central(256, 224, "bicubic"),
    "efficientnet_b1": Central(255, 240),
    "efficientnet_b2": Central(288, 288, "bicubic"),
    "efficientnet_b3": Central(320, 300, "bicubic"),
    "efficientnet_b4": Central(384, 380, "bicubic"),
    "efficientnet_b5": Central(456, 456, "bicubic"),
    "efficientnet_b6": Central(528, 528, "bicubic"),
    "efficientnet_b7": Central(600, 600, "bicubic"),
    "efficientnet_v2_l": Central(480, 480, "bicubic"),
    "efficientnet_v2_m": Central(480, 480),
    "efficientnet_v2_s": Central(384, 384),
    "inception_v3": Central(342, 299),
    "maxvit_t": Central(224, 224, "bicubic"),
    "regnet_y_128gf": Central(384, 384, "bicubic"),
    "swin_b": Central(238, 224, "bicubic"),
    "swin_s": Central(246, 224, "bicubic"),
    "swin_t": Central(232, 224, "bicubic"),
    "swin_v2_b": Central(272, 256, "bicubic"),
    "swin_v2_s": Central(260, 256, "bicubic"),
    "swin_v2_t": Central(260, 256, "bicubic"),
    "vit_h_14": Central(518, 518, "bicubic"),
    "vit_l_16": Central(242, 224),
    **dict.fromkeys(
        (
            "convnext_base",
            "convnext_large",
            "mnasnet0_75",
            "mnasnet1_3",
            "mobilenet_v2",
            "mobilenet_v3_large",
            "regnet_x_16gf",
            "regnet_x_1_6gf",
            "regnet_x_32gf",
            "regnet_x_3_2gf",
            "regnet_x_400mf",
            "regnet_x_800mf",
            "regnet_x_8gf",
            "regnet_y_16gf",
            "regnet_y_1_6gf",
            "regnet_y_32gf",
            "regnet_y_3_2gf",
            "regnet_y_400mf",
            "regnet_y_800mf",
            "regnet_y_8gf",
            "resnet101",
            "resnet152",
            "resnet50",
            "resnext101_32x8d",
            "resnext101_64x4d",
            "resnext50_32x4d",
            "shufflenet_v2_x1_5",
            "shufflenet_v2_x2_0",
            "wide_resnet101_2",
            "wide_resnet50_2",
        ),
        _SECOND_RECIPE,
    ),
}
"""What `transforms()` of torchvision 0.29's weights `DEFAULT` does, by model; of the
others in `published.FILES` it is `_RECIPE`."""

_LITE = {"0": 224, "1": 240, "2": 260, "3": 280, "4": 300}


def preparation(name: str, source: Any, **options) -> Preparation:
    """How images are prepared for the weights `source` of model `name`.

    `source` and `options` are as in `pretrained.load`.  A file is known by its name or
    by timm's `config.json` beside it, a repository of the hub by its `config.json`.
    Raises `UsageError` for weights of which it is not known.
    """
    mean, std = models.normalisation(name, **options)
    config = _config(source)
    if config is not None:
        crop, mean, std = _by_timm(config, str(source))
    else:
        found = _by_name(name, source)
        if found is None:
            raise UsageError(
                f"how images are prepared for the weights {_called(source)} of {name} "
                "is not known, and a guess would cost accuracy in silence: give "
                "preparation=pretrained.prepared(name, size=…, resize=…, method=…), or "
                "on the command line --size, --resize, --method, --mean and --std"
            )
        crop = found
    return Preparation(len(mean), crop, augment.normalise(mean, std))


def prepared(
    name: str,
    *,
    size: int,
    resize: int | None = None,
    method: Method = "bilinear",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options,
) -> Preparation:
    """The preparation of model `name` for weights of which it is not known.

    The shorter side of an image is resized to `resize` pixels, None: `size`, and
    `size`² are cut out of the centre.  `mean` and `std` are those of the channels for
    pixels from 0 to 1; None: those of `models.normalisation(name, **options)`.
    """
    usual_mean, usual_std = models.normalisation(name, **options)
    mean, std = mean or usual_mean, std or usual_std
    channels = models.default_input(name)[2]
    check(
        *(
            (
                len(values) == channels,
                f"{name} takes images of {channels} channels, got {len(values)} "
                f"numbers of {which}: give a mean and a std for each channel, by which "
                "the images were normalised in training",
            )
            for which, values in (("mean", mean), ("std", std))
        )
    )
    crop = resized_crop(size, resize=resize or size, method=method)
    return Preparation(channels, crop, augment.normalise(mean, std))


def class_names(count: int) -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, as torchvision spells them; numbers for
    any other count."""
    if count != 1000:
        return tuple(map(str, range(count)))
    return _imagenet()


@functools.cache
def _imagenet() -> tuple[str, ...]:
    text = resources.files(__package__).joinpath("imagenet_classes.txt")
    return tuple(text.read_text("utf-8").splitlines())


def _by_name(name: str, source: Any) -> Crop | None:
    """What is known of a file by its name, or of the default weights of a model."""
    if not isinstance(source, str | Path):
        return None
    file = Path(source).name
    of_classifier = models.encoder_of(name) is None  # others take whole images
    if of_classifier and (source == "default" or file == published.FILES.get(name)):
        return _crop(_TORCHVISION.get(name, _RECIPE))
    # TensorFlow's, PyPI's and timm's: a border of 16 pixels.
    if lite := re.search(r"efficientnet[-_]lite([0-4])\b", file.replace("_", "-")):
        size = _LITE[lite[1]]
        return _crop(Central(size + 32, size, "bicubic"))
    # github.com/akamaster/pytorch_resnet_cifar10
    if re.fullmatch(r"resnet(20|32|44|56|110|1202)-\w+\.th", file):
        return uncropped(32)
    return None


def _crop(central: Central) -> Crop:
    return resized_crop(central.size, resize=central.resize, method=central.method)


def _config(source: Any) -> Mapping[str, Any] | None:
    """timm's description of its weights: of a hub's repository, or beside a file."""
    if not isinstance(source, str | Path) or source == "default":
        return None
    path = Path(source)
    if path.exists():
        file = path.parent / "config.json"
    elif reading.is_hub_id(str(source)):
        try:
            file = reading.download(str(source), ("config.json",))
        except UsageError:  # there is none, or no network, which `load` reports
            return None
    else:
        return None
    try:
        content = json.loads(file.read_text("utf-8"))
        return content.get("pretrained_cfg")
    except (OSError, ValueError, AttributeError):
        return None


def _by_timm(
    config: Mapping[str, Any], source: str
) -> tuple[Crop, tuple[float, ...], tuple[float, ...]]:
    """The crop, means and deviations of timm's `create_transform`."""
    try:
        _, height, width = config["input_size"]
        method = config["interpolation"]
        check_method(method)
        resize = math.floor(height / config["crop_pct"])
        mean, std = (tuple(map(float, config[key])) for key in ("mean", "std"))
        mode = config.get("crop_mode") or "center"
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"the pretrained_cfg in the config.json of {source} does not say how "
            f"images are prepared ({type(error).__name__}: {error}): give a preparation"
        ) from error
    if mode not in ("center", "squash") or height != width:
        raise UsageError(
            f"the weights {source} expect images of {height}×{width} that are cropped "
            f"by {mode!r}, which is not known here: give a preparation"
        )
    crop = resized_crop(height, resize=resize, squash=mode == "squash", method=method)
    return crop, mean, std


def _called(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else "in a state dict"
