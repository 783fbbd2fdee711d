"""Costs and receptive fields, against published numbers."""

import pytest

from jaxvision import models
from jaxvision.models import measures

# Multiply-adds in units of 10⁹ that torchvision publishes with its weights.
PUBLISHED = {
    "alexnet": 0.714,
    "resnet18": 1.814,
    "squeezenet1_1": 0.349,
    "mobilenet_v2": 0.301,
    "mobilenet_v3_small": 0.057,
    "shufflenet_v2_x0_5": 0.040,
    "regnet_y_400mf": 0.402,
    "swin_t": 4.491,
    "vit_b_32": 4.409,
    "fcn_resnet50": 152.717,
    "fcn_resnet101": 232.738,
    "deeplabv3_resnet50": 178.722,
    "deeplabv3_resnet101": 258.743,
    "deeplabv3_mobilenet_v3_large": 10.452,
    "lraspp_mobilenet_v3_large": 2.086,
}


@pytest.mark.parametrize(
    "name", ["alexnet", "resnet18", "mobilenet_v3_small", "swin_t"]
)
def test_multiply_adds_are_the_published_ones(name):
    found = measures.measure(name)
    assert round(found.multiply_adds / 1e9, 3) == PUBLISHED[name]
    assert found == measures.recorded()[name]


def test_recorded_multiply_adds_are_the_published_ones():
    recorded = measures.recorded()
    for name, billions in PUBLISHED.items():
        assert round(recorded[name].multiply_adds / 1e9, 3) == billions


YOLOX = {
    "nano": (0.91, 1.08), "tiny": (5.06, 6.45), "s": (9.0, 26.8), "m": (25.3, 73.8),
    "l": (54.2, 155.6), "x": (99.1, 281.9),
}  # fmt: skip
"""Millions of parameters and 10⁹ operations, of the table in the authors' repository.
There a multiply-add is two operations, and a value that is normalised four."""


@pytest.mark.parametrize("size", YOLOX)
def test_yolox_has_the_parameters_and_operations_of_its_table(size):
    millions, billions = YOLOX[size]
    found = measures.recorded()[f"yolox_{size}"]
    operations = 2 * found.multiply_adds + 4 * found.activations
    assert found.parameters / 1e6 == pytest.approx(millions, abs=0.05)
    assert operations / 1e9 == pytest.approx(billions, rel=1e-3)


def test_every_model_is_recorded():
    assert list(measures.recorded()) == models.names()


@pytest.mark.parametrize(
    "name, pixels",
    # By the recursion of Araujo et al. 2019, https://doi.org/10.23915/distill.00021
    [
        ("alexnet", 195),
        ("resnet18", 435),
        ("vgg16", 212),
        ("mobilenet_v2", 491),
        # 68 on the way down, and two 3×3 at each of the strides 4, 2 and 1
        ("unet_small", 68 + 4 * (4 + 2 + 1)),
        # 106 on the way down, as its paper says, and 7×7 at 8, 4, 2 and 1
        ("segnet_basic", 106 + 6 * (8 + 4 + 2 + 1)),
    ],
)
def test_receptive_fields(name, pixels):
    assert measures.recorded()[name].receptive_field == pixels


def test_attention_sees_the_whole_image():
    assert measures.recorded()["vit_b_16"].receptive_field is None


def test_layers_of_lenet():
    # 28·28·6·25, 10·10·16·150, 400·120, 120·84, 84·10
    products = [117_600, 240_000, 48_000, 10_080, 840]
    found = measures.layers("lenet5")
    assert [layer.multiply_adds for layer in found] == products
    assert [layer.name for layer in found] == ["c1", "c3", "c5", "f6", "output"]
    assert found[0].kind == "Conv 5×5"
    assert found[0].output == (28, 28, 6)
    assert sum(layer.parameters for layer in found) == 61_706
    measured = measures.measure("lenet5")
    assert measured.multiply_adds == sum(products)
    assert measured.activations == 28 * 28 * 6 + 10 * 10 * 16 + 120 + 84 + 10
    # 5×5, 2×2 with stride 2, 5×5, 2×2: 1 + 4 + 1 + 2·4 + 2
    assert measured.receptive_field == 16


def test_fingerprints_tell_architectures_apart():
    found = {}
    for name, measured in measures.recorded().items():
        found.setdefault(measured.fingerprint, []).append(name)
    alike = [names for names in found.values() if len(names) > 1]
    mobile = [f"fasterrcnn_mobilenet_v3_large_{size}fpn" for size in ("320_", "")]
    assert alike == [mobile, ["lenet5", "lenet5_relu"]]
