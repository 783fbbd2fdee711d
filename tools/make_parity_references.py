"""What the reference implementations make of the weights of `parity_inputs.py`.

    python tools/make_parity_references.py [NAME …]

Runs where PyTorch, torchvision 0.29, timm, segmentation_models_pytorch 0.6,
transformers 5.24 and YOLOX 0.3 are installed, and needs nothing of jaxvision.  For
`hrnet_…` and `simplebaseline_…` the folder lib/ of the authors' release
(leoxiaobin/deep-high-resolution-net.pytorch) is on PYTHONPATH.
`parity_definitions.py` has the networks that none of them has.
Updates tests/pretrained/references.json, or the file that is named by
PARITY_REFERENCES in the environment: for each name the size of the images, the number
of parameters, a checksum of all names and shapes of its state dict, and a selection of
the logits for two images; for one model of each family also features and gradients, and
for those with batch normalisation what a training pass in float64 makes of them.
`timm/NAME` is what timm has where torchvision is the reference of NAME,
`NAME/output_stride=16` is torchvision's NAME with dilations instead of strides, and
`NAME/encoder=ENCODER` the decoder NAME of segmentation_models_pytorch on an encoder.
Of detectors it is what their heads say; `make_detector_references.py` has the rest.
"""

import functools
import json
import os
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import parity_inputs as inputs
import torch
import torchvision
from parity_definitions import DEFINITIONS

COMMITTED = Path(__file__).parent.parent / "tests" / "pretrained" / "references.json"
FILE = Path(os.environ.get("PARITY_REFERENCES", COMMITTED))

SQUARE = (
    "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch32_224",
    "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32",
)  # fmt: skip

SIZE = (64, 96)
"""Height and width of the images, unless `SIZES` says otherwise."""

SIZES = {
    "alexnet": (96, 128),
    "alexnet_2012": (99, 131),
    "alexnet_fcn": (224, 260),
    "convnet": (28, 28),
    **dict.fromkeys(("fcn32s", "fcn16s", "fcn8s", "fcn32s_alexnet"), (45, 70)),
    "inception_v3": (96, 128),
    "lenet5": (32, 32),
    "lenet5_relu": (32, 32),
    "maxvit_t": (224, 224),
    "mlp": (28, 28),
    "perceptron": (28, 28),
    **{f"resnet{n}": (32, 36) for n in (20, 32, 44, 56, 110)},
    **{f"resnet{n}_cifar": (32, 36) for n in (18, 34, 50)},
    **{f"segformer_{size}": (61, 94) for size in ("b0", "b1", "b2")},
    **dict.fromkeys(("segnet", "segnet_basic"), (40, 57)),
    "squeezenet1_0": (66, 98),
    "squeezenet1_1": (66, 98),
    "unet_ronneberger": (188, 204),
    "vit_h_14": (56, 56),
    "vit_s16_plain": (64, 64),
    **{f"wrn_{size}": (32, 36) for size in ("16_4", "16_8", "28_10", "40_4")},
    **{name: (64, 64) for name in SQUARE},
}

TIMM = {
    name: name
    for name in (
        "senet154", "seresnet50", "seresnet101", "seresnet152", "vit_tiny_patch16_224",
        "vit_small_patch16_224", "vit_small_patch32_224", "mobilenetv1_100",
        "resnetv2_18", "resnetv2_34", "resnetv2_50", "resnetv2_101", "resnetv2_152",
        "tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2",
        "tf_efficientnet_lite3", "tf_efficientnet_lite4",
    )
} | {"xception": "legacy_xception"}  # fmt: skip
"""Names that timm is the reference of, and what it calls them."""

ALSO_TIMM = {
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(8)},
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    **{f"vgg{n}{bn}": f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")},
    "regnet_x_400mf": "regnetx_004_tv", "regnet_y_400mf": "regnety_004",
    "regnet_x_800mf": "regnetx_008", "regnet_y_800mf": "regnety_008_tv",
    "regnet_x_1_6gf": "regnetx_016", "regnet_y_1_6gf": "regnety_016",
    "regnet_x_3_2gf": "regnetx_032", "regnet_y_3_2gf": "regnety_032",
    "regnet_x_8gf": "regnetx_080", "regnet_y_8gf": "regnety_080_tv",
    "regnet_x_16gf": "regnetx_160", "regnet_y_16gf": "regnety_160",
    "regnet_x_32gf": "regnetx_320", "regnet_y_32gf": "regnety_320",
    "regnet_y_128gf": "regnety_1280",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "swin_v2_s": "swinv2_small_window8_256",
    "swin_v2_b": "swinv2_base_window8_256",
    "convnext_tiny": "convnext_tiny", "convnext_small": "convnext_small",
    "convnext_base": "convnext_base", "convnext_large": "convnext_large",
}  # fmt: skip
"""Names that torchvision is the reference of, and what timm calls the same network.
They are compared a second time, as `timm/NAME`."""

SIZES |= {
    f"timm/{name}": (256, 256) if "v2" in name else (224, 224)
    for name in ALSO_TIMM
    if name.startswith(("swin", "vgg"))
} | {"timm/efficientnet_b7": (160, 192)}

OPTIONS = {
    "googlenet": dict(aux_logits=True, init_weights=False),
    "inception_v3": dict(init_weights=False),
    # TensorFlow's 0.99, where timm has PyTorch's default.
    "tf_efficientnet_lite0": dict(bn_momentum=0.01),
}

DILATED: dict[str, dict] = {
    "resnet50/output_stride=16": dict(
        replace_stride_with_dilation=[False, False, True]
    ),
    "resnet50/output_stride=8": dict(replace_stride_with_dilation=[False, True, True]),
    "mobilenet_v3_large/output_stride=16": dict(dilated=True),
    "mobilenet_v3_small/output_stride=16": dict(dilated=True),
}
"""With what torchvision calls the output stride."""

SEGMENTATION = (
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
)  # fmt: skip
"""Names of torchvision whose networks have a class for every pixel."""

DETECTION = {
    "retinanet_resnet50_fpn": (96, 128), "retinanet_resnet50_fpn_v2": (96, 128),
    "fcos_resnet50_fpn": (96, 128), "ssd300_vgg16": (300, 300),
    "ssdlite320_mobilenet_v3_large": (128, 160),
}  # fmt: skip
"""Names of torchvision's detectors, and the size of the images."""

SIZES |= DETECTION

HEADS = {
    "class_logits": "cls_logits",
    "box_codes": "bbox_regression",
    "centredness": "bbox_ctrness",
}
"""Our names of what heads say, and torchvision's."""

YOLOX = {
    "nano": (0.33, 0.25), "tiny": (0.33, 0.375), "s": (0.33, 0.5), "m": (0.67, 0.75),
    "l": (1.0, 1.0), "x": (1.33, 1.25),
}  # fmt: skip
"""Factors of depth and width of each size."""

YOLOX_NAMES = [f"{kind}_{size}" for kind in ("cspdarknet", "yolox") for size in YOLOX]

PREDICTIONS = {
    "class_logits": "cls_preds",
    "box_codes": "reg_preds",
    "objectness": "obj_preds",
}
"""Our names of what heads say, and of the layers of YOLOX that say it."""

POSE = (
    "hrnet_w32", "hrnet_w48",
    "simplebaseline_resnet50", "simplebaseline_resnet101", "simplebaseline_resnet152",
)  # fmt: skip

SMP = {
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "deeplabv3plus": "DeepLabV3Plus",
    "linknet": "Linknet",
}
"""What segmentation_models_pytorch calls its networks; their encoder is a ResNet-34."""

ENCODERS = (
    "unet/encoder=mobilenet_v2", "unet/encoder=efficientnet_b0",
    "fpn/encoder=resnet50", "fpn/encoder=vgg11", "pspnet/encoder=resnet18",
    "deeplabv3plus/encoder=mobilenet_v2", "deeplabv3plus/encoder=efficientnet_b0",
)  # fmt: skip
"""The same on other encoders."""

ODD = ("fcn_resnet50", "lraspp_mobilenet_v3_large", "unet/encoder=mobilenet_v2")
"""Some that take images of any size."""

SIZES |= dict.fromkeys(ODD, (60, 90))

FEATURES = {
    "alexnet": "features.2 features.5 features.12",
    "vgg11": "features.2 features.5 features.10 features.15 features.20",
    "googlenet": "conv1 conv3 inception3b inception4e inception5b",
    "inception_v3": "Conv2d_2b_3x3 Conv2d_4a_3x3 Mixed_5d Mixed_6e Mixed_7c",
    "resnet18": "layer1 layer2 layer3 layer4",
    "resnet20": "layer1 layer2 layer3",
    "wrn_16_4": "layer1 layer2 layer3",
    "unet_small": "",
    "unet_ronneberger": "",
    "fcn8s": "",
    "segnet": "",
    "segnet_basic": "",
    "mit_b0": "",
    "segformer_b0": "",
    **dict.fromkeys((*SMP, "fcn_resnet50", *SEGMENTATION[-2:]), ""),
    "densenet121": (
        "features.denseblock1 features.denseblock2 features.denseblock3 "
        "features.denseblock4"
    ),
    "squeezenet1_1": "features.1 features.4 features.7 features.12",
    "mobilenetv1_100": "blocks.0 blocks.1 blocks.2 blocks.3 blocks.4",
    "mobilenet_v2": "features.1 features.3 features.6 features.13 features.17",
    "mobilenet_v3_small": "features.0 features.1 features.3 features.8 features.11",
    "shufflenet_v2_x0_5": "conv1 stage2 stage3 stage4",
    "mnasnet0_5": "layers.7 layers.8 layers.9 layers.11 layers.13",
    "efficientnet_b0": "features.1 features.2 features.3 features.5 features.7",
    "tf_efficientnet_lite0": "blocks.0 blocks.1 blocks.2 blocks.4 blocks.6",
    "regnet_y_400mf": (
        "trunk_output.block1 trunk_output.block2 trunk_output.block3 "
        "trunk_output.block4"
    ),
    "convnext_tiny": "features.1 features.3 features.5 features.7",
    "vit_tiny_patch16_224": "blocks.2 blocks.5 blocks.8 blocks.11",
    "swin_t": "features.1 features.3 features.5 features.7",
    "swin_v2_t": "features.1 features.3 features.5 features.7",
    "maxvit_t": "blocks.0 blocks.1 blocks.2 blocks.3",
    "resnetv2_18": "stages.0 stages.1 stages.2 stages.3",
    "xception": "act2 block1 block2 block11 act4",
    "senet154": "layer1 layer2 layer3 layer4",
    "cspdarknet_nano": "stem dark2 dark3 dark4 dark5",
    "cspdarknet_tiny": "stem dark2 dark3 dark4 dark5",
}
"""Modules whose outputs we call stage1, stage2, …"""

TRAINED = (
    "vgg11_bn", "googlenet", "inception_v3", "resnet18", "resnet20", "densenet121",
    "mobilenetv1_100", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5",
    "mnasnet0_5", "efficientnet_b0", "tf_efficientnet_lite0", "regnet_y_400mf",
    "resnetv2_18", "wrn_16_4", "xception", "unet_small", "fcn_resnet50",
    *SEGMENTATION[-2:], *SMP, "segnet_basic", "segformer_b0", "cspdarknet_tiny",
)  # fmt: skip
"""Networks with batch normalisation that are compared in training too."""


def alexnet_2012():
    """The table of the paper, for which torchvision has no name."""
    conv = torch.nn.Conv2d
    # PyTorch multiplies the mean of squares by alpha, the paper the sum.
    norm = functools.partial(torch.nn.LocalResponseNorm, 5, alpha=5e-4, beta=0.75, k=2)
    relu, pool = torch.nn.ReLU, functools.partial(torch.nn.MaxPool2d, 3, 2)
    model = torchvision.models.alexnet()
    model.features = torch.nn.Sequential(
        conv(3, 96, 11, 4), torch.nn.Sequential(relu(), norm()), pool(),
        conv(96, 256, 5, padding=2, groups=2), torch.nn.Sequential(relu(), norm()),
        pool(), conv(256, 384, 3, padding=1), relu(),
        conv(384, 384, 3, padding=1, groups=2), relu(),
        conv(384, 256, 3, padding=1, groups=2), relu(), pool(),
    )  # fmt: skip
    return model


def alexnet_fcn():
    """torchvision's, whose dense layers slide over larger images."""
    model = torchvision.models.alexnet()
    model.avgpool, conv = torch.nn.Identity(), torch.nn.Conv2d
    model.classifier[1] = conv(256, 4096, 6)
    model.classifier[4] = conv(4096, 4096, 1)
    model.classifier[6] = conv(4096, 1000, 1)
    model.forward = lambda images: model.classifier(model.features(images))
    return model


TRANSFORMERS = {
    "b0": ([2, 2, 2, 2], [32, 64, 160, 256], 256),
    "b1": ([2, 2, 2, 2], [64, 128, 320, 512], 256),
    "b2": ([3, 4, 6, 3], [64, 128, 320, 512], 768),
}
"""Of each size of SegFormer: blocks and channels of the stages, and channels of the
decoder, as in the files of configuration on the hub."""

SEGFORMERS = [f"{kind}_{n}" for kind in ("segformer", "mit") for n in TRANSFORMERS]


IN_FILES = (
    (r"stages\.(\d)\.patch_embeddings", r"encoder.patch_embeddings.\1"),
    (r"stages\.(\d)\.blocks", r"encoder.block.\1"),
    (r"stages\.(\d)\.layer_norm", r"encoder.layer_norm.\1"),
    (r"sequence_reduction\.sequence_reduction", "self.sr"),
    (r"sequence_reduction\.layer_norm", "self.layer_norm"),
    (r"q_proj", "self.query"),
    (r"k_proj", "self.key"),
    (r"v_proj", "self.value"),
    (r"o_proj", "output.dense"),
    (r"mlp\.fc", "mlp.dense"),
    (r"layernorm_before", "layer_norm_1"),
    (r"layernorm_after", "layer_norm_2"),
    (r"linear_projections", "linear_c"),
)
"""Names of modules in transformers 5, and in the files that it reads and writes."""


def segformer(name):
    """That of transformers; `mit_…` is its encoder, which classifies images.

    Its layers are under the names that they have in files.
    """
    import transformers

    depths, widths, decoder = TRANSFORMERS[name[-2:]]
    config = transformers.SegformerConfig(
        depths=depths,
        hidden_sizes=widths,
        decoder_hidden_size=decoder,
        num_labels=1000 if name.startswith("mit") else 150,
    )
    classifies = name.startswith("mit")
    model = (
        transformers.SegformerForImageClassification(config)
        if classifies
        else transformers.SegformerForSemanticSegmentation(config)
    )

    def forward(images):
        scores = model(images).logits
        if classifies:
            return scores
        # As its image processor does before it chooses the class of a pixel.
        return torch.nn.functional.interpolate(
            scores, images.shape[2:], mode="bilinear", align_corners=False
        )

    renamed = torch.nn.Module()
    for place, layer in model.named_modules():
        if next(layer.children(), None) is None:
            for pattern, replacement in IN_FILES:
                place = re.sub(pattern, replacement, place)
            *path, last = place.split(".")
            parent = renamed
            for part in path:
                if not hasattr(parent, part):
                    parent.add_module(part, torch.nn.Module())
                parent = getattr(parent, part)
            parent.add_module(last, layer)
    renamed.forward = forward
    return renamed


def segmentation(name):
    """torchvision's, which returns its scores alone and keeps the auxiliary ones."""
    aux = {} if name.startswith("lraspp") else {"aux_loss": True}
    model = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, **aux
    )
    forward = model.forward

    def scores(images):
        outputs = forward(images)
        model.auxiliary = outputs.get("aux")
        return outputs["out"]

    model.forward = scores
    return model


def detection(name):
    """torchvision's, which returns its scores alone and keeps all that heads say."""
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)

    def scores(images):
        found = model.head([*model.backbone(images).values()])
        model.said = {
            ours: found[theirs] for ours, theirs in HEADS.items() if theirs in found
        }
        if "centredness" in model.said:
            model.said["centredness"] = model.said["centredness"].squeeze(-1)
        return found["cls_logits"]

    model.forward = scores
    return model


def yolox(name):
    """The authors', whose images are blue, green and red: the detector like those of
    torchvision, and its encoder with a linear layer as a classifier."""
    from yolox.models import YOLOPAFPN, YOLOXHead

    kind, _, size = name.partition("_")
    (depth, width), depthwise = YOLOX[size], size == "nano"
    backbone = YOLOPAFPN(depth, width, depthwise=depthwise)
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03
    if kind == "cspdarknet":
        model = backbone.backbone
        maps = model.forward
        model.classifier = torch.nn.Linear(int(1024 * width), 1000)
        model.forward = lambda images: model.classifier(
            maps(images.flip(1))["dark5"].mean((2, 3))
        )
        return model
    model, said = torch.nn.Module(), {}
    model.backbone, model.head = backbone, YOLOXHead(80, width, depthwise=depthwise)
    for module in model.head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    for ours, layers in PREDICTIONS.items():
        for layer in getattr(model.head, layers):
            layer.register_forward_hook(
                lambda layer, given, output, ours=ours: said[ours].append(
                    output.flatten(2).transpose(1, 2)
                )
            )

    def scores(images):
        said.update({ours: [] for ours in PREDICTIONS})
        model.head(model.backbone(images.flip(1)))
        model.said = {ours: torch.cat(maps, 1) for ours, maps in said.items()}
        model.said["objectness"] = model.said["objectness"].squeeze(-1)
        return model.said["class_logits"]

    model.forward = scores
    return model


class Settings(dict):
    """Entries that are attributes as well, as the authors' release asks for them."""

    __getattr__ = dict.__getitem__


def pose(name):
    """Of the authors' release, which returns heatmaps."""
    kind, _, size = name.partition("_")
    extra = Settings(FINAL_CONV_KERNEL=1, PRETRAINED_LAYERS=["*"])
    if kind == "hrnet":
        for stage, modules in ((2, 1), (3, 4), (4, 3)):
            extra[f"STAGE{stage}"] = Settings(
                NUM_MODULES=modules,
                NUM_BRANCHES=stage,
                NUM_BLOCKS=[4] * stage,
                NUM_CHANNELS=[int(size[1:]) * 2**i for i in range(stage)],
                BLOCK="BASIC",
                FUSE_METHOD="SUM",
            )
    else:
        extra |= dict(
            NUM_LAYERS=int(size.removeprefix("resnet")),
            DECONV_WITH_BIAS=False,
            NUM_DECONV_LAYERS=3,
            NUM_DECONV_FILTERS=[256] * 3,
            NUM_DECONV_KERNELS=[4] * 3,
        )
    from models import pose_hrnet, pose_resnet

    settings = Settings(MODEL=Settings(EXTRA=Settings(extra), NUM_JOINTS=17))
    module = pose_hrnet if kind == "hrnet" else pose_resnet
    model = module.get_pose_net(settings, is_train=False)
    forward = model.forward

    def maps(images):
        found = forward(images)
        model.said = {"heatmaps": found.movedim(1, -1)}
        return found

    model.forward = maps
    return model


def smp(name):
    """Of segmentation_models_pytorch, without what the network never calls."""
    import segmentation_models_pytorch

    decoder, _, encoder = name.partition("/encoder=")
    if encoder.startswith("efficientnet"):
        encoder = f"tu-{encoder}"  # timm's; its own ones pad as TensorFlow does
    model = getattr(segmentation_models_pytorch, SMP[decoder])(
        encoder or "resnet34", encoder_weights=None, classes=21
    )
    if decoder == "pspnet":
        del model.encoder.layer3, model.encoder.layer4
    return model


def build(name):
    if name in SEGMENTATION:
        return segmentation(name)
    if name in DETECTION:
        return detection(name)
    if name in YOLOX_NAMES:
        return yolox(name)
    if name in POSE:
        return pose(name)
    if name.partition("/")[0] in SMP:
        return smp(name)
    if name in ("alexnet_2012", "alexnet_fcn"):
        return globals()[name]()
    if name in DEFINITIONS:
        return DEFINITIONS[name]()
    if name in SEGFORMERS:
        return segformer(name)
    options = OPTIONS.get(name, {}) | DILATED.get(name, {})
    if name.startswith("timm/"):
        import timm

        return timm.create_model(ALSO_TIMM[name.removeprefix("timm/")])
    if name in TIMM:
        import timm

        if name.startswith("vit_"):
            options = dict(img_size=SIZES[name])
        return timm.create_model(TIMM[name], **options)
    if name.startswith("vit_"):
        options = dict(image_size=SIZES[name][0])
    return torchvision.models.get_model(name.split("/")[0], weights=None, **options)


def reference(name):
    model = build(name).eval()
    state = model.state_dict()
    # timm has some dense layers as convolutions, of as many numbers.
    sizes = name.startswith("timm/")
    described = sorted(
        f"{key} {value.numel() if sizes else tuple(value.shape)}"
        for key, value in state.items()
        if is_weight(key, value)
    )
    height, width = SIZES.get(name, SIZE)
    images = torch.from_numpy(inputs.images(height, width).transpose(0, 3, 1, 2).copy())
    constants = sorted(
        f"{key} {tuple(value.shape)} {float(value.double().abs().sum()):.5g}"
        for key, value in state.items()
        if not is_weight(key, value) and not key.endswith("num_batches_tracked")
    )
    gain, spread = best_gain(model, images)
    fill(model, gain)
    found = {
        "input": [height, width],
        "gain": gain,
        "parameters": sum(p.numel() for p in model.parameters()),
        "keys": zlib.crc32("\n".join(described).encode()),
    }
    if constants:
        found["constants"] = zlib.crc32("\n".join(constants).encode())
    if name.startswith("vit_"):
        # Position embeddings belong to a size; published are those of 224 pixels.
        SIZES[name] = (224, 224)
        with torch.device("meta"):
            found["published"] = sum(p.numel() for p in build(name).parameters())
    taps = {}
    for i, module in enumerate(FEATURES.get(name, "").split(), 1):
        model.get_submodule(module).register_forward_hook(
            lambda module, args, output, i=i: taps.__setitem__(f"stage{i}", output)
        )
    if name not in FEATURES:
        with torch.no_grad():
            logits = model(images)
    else:
        images.requires_grad_()
        logits = model(images)
        scores = as_map(name, logits, height, width)
        weights = inputs.uniform("logits", tuple(scores.shape))
        (scores * torch.from_numpy(weights)).sum().backward()
        found["features"] = {
            stage: entries(as_map(name, value, height, width))
            for stage, value in taps.items()
        }
        if name == "inception_v3":
            found["made_for"] = [299, 299]
            # In the network its map is large enough only for images of 299×299.
            seen = torch.from_numpy(inputs.uniform("aux", (2, 17, 17, 768)))
            found["aux"] = entries(model.AuxLogits(seen.movedim(-1, 1)))
        found["gradients"] = {"images": entries(images.grad.movedim(1, -1))} | {
            key: entries(value.grad) for key, value in chosen(model)
        }
    if getattr(model, "auxiliary", None) is not None:
        auxiliary = as_map(name, model.auxiliary, height, width)
        found.setdefault("features", {})["aux_logits"] = entries(auxiliary)
    if hasattr(model, "said"):
        found["features"] = {k: entries(value) for k, value in model.said.items()}
    else:
        found["logits"] = entries(as_map(name, logits, height, width))
    if name in TRAINED:
        found["trained"] = trained(name, model, images.detach())
    return found, spread, float(logits.detach().abs().max())


def trained(name, model, images):
    """Logits, gradients and new running statistics of a training pass in float64.

    Nothing is dropped, and there are no auxiliary heads.
    """
    model.double().train().zero_grad()
    model.aux_logits = False
    for head in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, head):
            setattr(model, head, None)
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "Dropout2d", "StochasticDepth"):
            module.p = 0.0
        if type(module).__name__.endswith("DropPath"):
            module.drop_prob = 0.0
    scores = as_map(name, model(images.double()), *images.shape[2:])
    weights = inputs.uniform("logits", tuple(scores.shape))
    (scores * torch.from_numpy(weights)).sum().backward()
    running = {k: v for k, v in model.state_dict().items() if "running_" in k}
    return {
        "logits": entries(scores),
        # Biases before a normalisation have none but what rounding leaves.
        "gradients": {
            key: entries(value.grad)
            for key, value in chosen(model)
            if value.grad.abs().max() > 1e-9
        },
        "running": {key: entries(running[key]) for key in spread_over(list(running))},
    }


def is_weight(key, value):
    """Whether it is no counter and no constant."""
    return value.is_floating_point() and not key.endswith("relative_coords_table")


GAINS = (1.0, 0.6, 0.8, 0.9, 1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0)


def best_gain(model, images):
    """The gain with which the logits of the two images differ the most.

    Deep networks with random weights easily say the same of every image, and then
    would agree with any other network; or they multiply every difference so much that
    rounding decides what they say, and would not agree with themselves.
    """
    spreads = {}
    fill(model, before := 1.0)
    for gain in GAINS:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter *= (gain / before) ** 0.5
            logits, before = model(images), gain
            moved = (model(images * (1 + 1e-6)) - logits).abs().max()
        if logits.isfinite().all() and moved < 2e-5 * logits.abs().max():
            spread = (logits[0] - logits[1]).abs().max() / logits.abs().max()
            spreads[gain] = float(spread)
        if spreads.get(gain, 0) > 0.05:
            break
    best = max(spreads, key=spreads.get)
    if spreads[best] < 0.01:
        raise SystemExit(f"{model.__class__} says the same of both images: {spreads}")
    return best, spreads[best]


def fill(model, gain):
    """Give the model the weights that its names and shapes decide."""
    state = model.state_dict()
    for key, value in state.items():
        if is_weight(key, value):
            weight = inputs.weight(key, tuple(value.shape), gain)
            state[key] = torch.from_numpy(np.asarray(weight, np.float32))
    model.load_state_dict(state, strict=True)


def chosen(model):
    """The first, the middle and the last parameters of a model."""
    parameters = [(k, p) for k, p in model.named_parameters() if p.grad is not None]
    return spread_over(parameters)


def spread_over(items):
    """The first two, the middle two and the last two."""
    middle = len(items) // 2
    picked = {i % len(items) for i in (0, 1, middle, middle + 1, -2, -1)}
    return [items[i] for i in sorted(picked)]


def as_map(name, features, height, width):
    """Channels last, and tokens in rows and columns without the class token."""
    if features.ndim == 2:
        return features
    if features.ndim == 3:
        rows = round((features.shape[1] * height / width) ** 0.5)
        return features[:, 1:].unflatten(1, (rows, -1))
    return features if name.startswith("swin") else features.movedim(1, -1)


def entries(tensor):
    """A selection of the entries, and the largest one, which errors are relative to."""
    array = tensor.detach().numpy()
    values = np.ascontiguousarray(array).reshape(-1)[inputs.probe(array.shape)]
    return {
        "shape": list(array.shape),
        "scale": rounded(np.abs(array).max()),
        "values": [rounded(v) for v in values],
    }


def rounded(number):
    return float(f"{number:.7g}")


def main(names):
    all_names = torchvision.models.list_models(module=torchvision.models)
    twice = [f"timm/{name}" for name in ALSO_TIMM]
    dense = [*SEGMENTATION, *DETECTION, *YOLOX_NAMES, *POSE, *SMP, *ENCODERS]
    others = [
        "alexnet_2012",
        "alexnet_fcn",
        *DEFINITIONS,
        *DILATED,
        *dense,
        *SEGFORMERS,
    ]
    for name in names or [*all_names, *TIMM, *twice, *others]:
        found, spread, size = reference(name)
        gain = found["gain"]
        print(
            f"{name:24} logits to {size:.3g}, apart by {spread:.2g}, gain {gain}",
            flush=True,
        )
        references = json.loads(FILE.read_text()) if FILE.exists() else {}
        references[name] = found
        lines = [f'"{k}": {json.dumps(v)}' for k, v in sorted(references.items())]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    # Every weight is replaced: what would initialise it only takes time.
    for function in [name for name in vars(torch.nn.init) if name.endswith("_")]:
        if not function.startswith("_"):
            setattr(torch.nn.init, function, lambda tensor, *_, **__: tensor)
    main(sys.argv[1:])
