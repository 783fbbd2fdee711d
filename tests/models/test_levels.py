"""Feature pyramids of all models, by stride."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.layers.conv import Conv

STRIDES = {
    "perceptron": (), "mlp": (),
    # Takes one size of images only.
    "lenet5": (),
    "convnet": (2, 4),
    **dict.fromkeys(("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
                    (1, 2, 4)),
    "wrn": (1, 2, 4),
    **dict.fromkeys(("resnet18_cifar", "resnet34_cifar", "resnet50_cifar"),
                    (1, 2, 4, 8)),
    "alexnet": (4, 8, 16, 32),
    "vgg": (1, 2, 4, 8, 16, 32),
    "squeezenet": (2, 4, 8, 16),
    "unet_small": (1, 2, 4, 8),
    **dict.fromkeys(("unet_ronneberger", "segnet_basic"), (1, 2, 4, 8, 16)),
    **dict.fromkeys(("fcn8s", "fcn16s", "fcn32s", "segnet"), (1, 2, 4, 8, 16, 32)),
    **dict.fromkeys(("fcn32s_alexnet", "segformer", "mit"), (4, 8, 16, 32)),
    **dict.fromkeys(("linknet", "unet"), (1, 2, 4, 8, 16, 32)),
    "fpn": (4, 8, 16, 32),
    **dict.fromkeys(("fcn", "deeplabv3_resnet", "pspnet"), (8,)),
    **dict.fromkeys(("deeplabv3_mobilenet", "lraspp"), (8, 16)),
    "deeplabv3plus": (4, 16),
    # By images whose sides are multiples of 128 the coarsest map has 128.
    **dict.fromkeys(("retinanet", "fcos", "ssd300"), (8, 16, 32, 64)),
    "hrnet": (4, 8, 16), "simplebaseline": (4, 8, 16, 32),
    "ssdlite320": (16, 32, 64), "yolox": (8, 16, 32),
    **dict.fromkeys(("convnext", "swin"), (4, 8, 16, 32)),
    "vit_b_16": (16,), "vit_l_16": (16,), "vit_tiny_patch16": (16,),
    "vit_small_patch16": (16,), "vit_s16_plain": (16,),
    "vit_b_32": (32,), "vit_l_32": (32,), "vit_small_patch32": (32,),
    "vit_h_14": (14,),
    **dict.fromkeys((
        "cspdarknet", "densenet", "efficientnet", "googlenet", "inception", "maxvit",
        "mnasnet", "mobilenet", "regnet", "resnet", "resnetv2", "resnext", "senet",
        "seresnet", "shufflenet", "tf_efficientnet_lite", "wide_resnet", "xception",
    ), (2, 4, 8, 16, 32)),
}  # fmt: skip
"""By the beginning of the model's name; the longest one counts."""


def check_that_strides_are_those_of_the_family(name):
    family = max((known for known in STRIDES if name.startswith(known)), key=len)
    found = models.levels(name)
    assert tuple(found) == STRIDES[family]
    assert all(level.stride == stride for stride, level in found.items())


@pytest.mark.parametrize(
    "name",
    ["alexnet", "convnet", "inception_v3", "resnet18", "squeezenet1_0", "swin_t",
     "vgg11", "vit_tiny_patch16_224"],
)  # fmt: skip
def test_levels_are_the_activations_of_that_name(name):
    height, width, channels = models.default_input(name)
    shapes = outputs(models.create(name), (height, width, channels))
    for stride, level in models.levels(name).items():
        _, rows, columns, channels = shapes[level.name]
        assert channels == level.channels
        # Without padding a few positions are lost.
        assert 0 <= -(-height // stride) - rows <= 4
        assert 0 <= -(-width // stride) - columns <= 4


def outputs(model, input_shape):
    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    made = jax.eval_shape(
        lambda images: model.apply(model.init(jax.random.key(0), images), images)[0],
        images,
    )
    return {name: value.shape for name, value in made.items()}


@pytest.mark.parametrize(
    "name, stride, level",
    [
        # conv4_3, which SSD begins with, and the last map before each other pooling.
        ("vgg16", 8, ("conv4", 512)),
        ("vgg16", 32, ("stage5", 512)),
        ("alexnet_fcn", 32, ("stage3", 256)),
        ("resnet50", 4, ("stage1", 256)),
        ("resnet50", 32, ("stage4", 2048)),
        ("mobilenet_v2", 16, ("stage4", 96)),
        ("vit_b_16", 16, ("stage4", 768)),
        ("shufflenet_v2_x1_0", 4, ("pool", 24)),
    ],
)
def test_the_deepest_activation_of_a_stride_counts(name, stride, level):
    assert models.levels(name)[stride] == (level[0], stride, level[1])


def test_patches_of_any_size_are_a_level():
    model = models.create("vit_tiny_patch16_224", patch=14, depth=4)
    assert list(models.levels(model)) == [14]


def test_the_last_block_of_any_depth_is_a_stage():
    for depth, stages in ((1, 1), (3, 3), (4, 4), (14, 4)):
        model = models.create("vit_tiny_patch16_224", depth=depth)
        (level,) = models.levels(model).values()
        assert level.name == f"stage{stages}"


class Unpadded(nn.Module):
    """Maps of stride 3, whose names are not in alphabetical order."""

    @nn.compact
    def __call__(self, images, *, train):
        first = Conv(8, 3, strides=3, padding="VALID")(images)
        second = Conv(5, 5, padding="VALID")(first)
        return {"b": first, "a": second, "vector": second.mean((1, 2))}


def test_models_of_ones_own_have_levels():
    model = models.from_linen(Unpadded())
    assert models.levels(model, (64, 64, 1)) == {3: ("a", 3, 5)}


def test_sizes_that_a_model_refuses_are_explained():
    with pytest.raises(UsageError, match="pad or resize them"):
        models.levels("lenet5", (28, 28, 1))
    with pytest.raises(UsageError, match="patches of 16×16"):
        models.levels("vit_b_16", (230, 230, 3))
