"""Detectors on encoders of all kinds, and what surrounds them."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models, tasks
from jaxvision.errors import UsageError
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import BatchNorm
from jaxvision.models import detectors
from jaxvision.paths import named_leaves
from jaxvision.pretrained import keys


class Small(nn.Module):
    """Maps at strides 8, 16 and 32, with a normalisation."""

    @nn.compact
    def __call__(self, images, *, train):
        norm = partial(BatchNorm, use_running_average=not train)
        x = norm(name="norm")(Conv(4, 8, 8, name="first")(images))
        maps = {"map8": x}
        for stride in (16, 32):
            maps[f"map{stride}"] = x = Conv(4, 3, 2, 1, name=f"c{stride}")(nn.relu(x))
        return maps


PLAIN = dict(encoder=Small, pyramid_channels=32, num_classes=3)

SSDLITE = "ssdlite320_mobilenet_v3_large"
ON_V2 = dict(encoder="mobilenet_v2", fine_from="stage4", coarse_from="stage5")
BY_GIOU = tasks.retinanet(box_loss="giou")

TINY_DETR = dict(
    encoder=Small, features=16, heads=2, hidden=8, encoder_layers=1, decoder_layers=2,
    queries=6, num_classes=4,
)  # fmt: skip

CASES = [
    ("retinanet_resnet50_fpn_v2", PLAIN, BY_GIOU, (100, 76)),
    (
        "yolox_s",
        dict(encoder=Small, channels=8, num_classes=3),
        tasks.yolox(),
        (100, 76),
    ),
    ("detr_resnet50", TINY_DETR, tasks.detr(queries=6, layers=2), (100, 76)),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("retinanet_resnet50_fpn", PLAIN, tasks.retinanet(), (100, 76)),
            ("fcos_resnet50_fpn", PLAIN, tasks.fcos(), (100, 76)),
            ("retinanet_resnet50_fpn_v2", {"encoder": "resnet18"}, BY_GIOU, (100, 76)),
            (
                "fcos_resnet50_fpn",
                {"encoder": "mnasnet0_5"},
                tasks.fcos(),
                (64, 95),
            ),
            ("ssd300_vgg16", {}, tasks.ssd(), (300, 300)),
            ("ssd300_vgg16", {"encoder": "vgg11_bn"}, tasks.ssd(), (290, 333)),
            ("yolox_nano", {}, tasks.yolox(), (99, 75)),
            ("yolox_s", {"encoder": "mobilenet_v2"}, tasks.yolox(), (64, 95)),
            (SSDLITE, {}, tasks.ssdlite(), (200, 151)),
            (SSDLITE, ON_V2, tasks.ssdlite(), (128, 128)),
            ("detr_resnet50", {"encoder": "mobilenet_v2"}, tasks.detr(), (64, 95)),
        )
    ),
]


@pytest.mark.parametrize(("name", "options", "detector", "size"), CASES)
def test_every_anchor_has_scores_and_a_box(name, options, detector, size):
    model = models.create(name, **options, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs, _ = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, key=jax.random.key(1)),
        variables,
        images,
    )
    anchors = sum(map(len, detector.levels(outputs, size)))  # raises unless they fit
    columns = {"yolox": 80, "detr": 92}.get(name.partition("_")[0], 91)
    classes = options.get("num_classes", columns)
    assert outputs["class_logits"].shape == (2, anchors, classes)
    assert outputs["class_logits"].dtype == outputs["box_codes"].dtype == jnp.float32
    assert {str(outputs[name].dtype) for name in detector.maps} == {"bfloat16"}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {"float32"}
    features = models.create(name, **options | {"num_classes": 0})
    outputs = jax.eval_shape(
        lambda x: features.apply(features.init(jax.random.key(0), x), x)[0], images
    )
    assert {*detector.maps} <= outputs.keys() and "class_logits" not in outputs


def test_entries_say_something_of_each_region():
    options = dict(maps=(8, 16, 32), num_keypoints=4, box_units=16, **PLAIN)
    model = models.create("maskrcnn_resnet50_fpn_v2", **options, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32)
    boxes = jax.ShapeDtypeStruct((2, 5, 4), jnp.float32)

    def everything(images, boxes):
        variables = model.init(jax.random.key(0), images)
        outputs, state = model.apply(variables, images, train=True)
        levels = [outputs[f"level{i}"] for i in range(1, 5)]
        said = {}
        for entry in ("boxes", "masks", "keypoints"):
            given = {**variables, **state}
            found, state = model.apply(given, boxes, *levels, entry=entry, train=True)
            said |= {f"{entry} {name}": x for name, x in found.items()}
        return outputs, said, variables, {**variables, **state}

    outputs, said, before, after = jax.eval_shape(everything, images, boxes)
    assert outputs["class_logits"].shape == (2, 3 * (96 + 24 + 6 + 2), 1)
    assert {name: x.shape for name, x in said.items()} == {
        "boxes class_logits": (2, 5, 3),
        "boxes box_codes": (2, 5, 3, 4),
        "masks mask_logits": (2, 5, 28, 28, 3),
        "keypoints keypoint_logits": (2, 5, 56, 56, 4),
    }
    assert {str(x.dtype) for x in said.values()} == {"float32"}
    assert before == after  # all state comes back from every entry
    # Those that the network has not are refused.
    plain = models.create("fasterrcnn_resnet50_fpn", **PLAIN, maps=(8, 16, 32))
    levels = [jax.ShapeDtypeStruct((2, n, n, 32), jnp.float32) for n in (8, 4, 2, 1)]
    for entry in ("masks", "keypoints"):
        with pytest.raises(UsageError, match=f"has no {entry}: take another model"):
            jax.eval_shape(
                lambda *given, entry=entry: plain.apply({}, *given, entry=entry),
                boxes,
                *levels,
            )


def test_padding_of_regions_is_not_normalised_with_them():
    options = dict(maps=(8, 16, 32), box_units=16, mask_convs=1, **PLAIN)
    model = models.create("maskrcnn_resnet50_fpn_v2", **options)
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.normal(size=(1, 64, 64, 3)), jnp.float32)
    levels = [
        jnp.asarray(draw.normal(size=(1, n, n, 32)), jnp.float32) for n in (8, 4, 2, 1)
    ]
    boxes = jnp.asarray([[[4, 8, 40, 50], [10, 0, 60, 30], [20, 20, 33, 60.0]]])
    padded = jnp.pad(boxes, [(0, 0), (0, 4), (0, 0)])
    variables = model.init(jax.random.key(0), images)

    @partial(jax.jit, static_argnums=1)
    def ask(boxes, entry):
        return model.apply(variables, boxes, *levels, entry=entry, train=True)

    for entry, name in (("masks", "mask_logits"), ("boxes", "class_logits")):
        alone, state = ask(boxes, entry)
        said, padded_state = ask(padded, entry)
        np.testing.assert_allclose(said[name][:, :3], alone[name], atol=1e-4)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
            padded_state,
            state,
        )


def test_old_files_of_torchvision_have_other_heads():
    rules = models.sources("maskrcnn_resnet50_fpn")["torchvision before 0.13"]
    named = {
        ("rpn.head", "conv.0.0", "kernel"): "rpn.head.conv.weight",
        ("rpn.head", "cls_logits", "bias"): "rpn.head.cls_logits.bias",
        ("mask_head", "2.0", "kernel"): "roi_heads.mask_head.mask_fcn3.weight",
        ("box_head", "fc6", "bias"): "roi_heads.box_head.fc6.bias",
        ("fpn.layer_blocks.3.0", "bias"): "backbone.fpn.layer_blocks.3.bias",
    }
    for path, expected in named.items():
        assert keys.published_key(("params", *path), rules) == expected


@pytest.mark.slow
def test_normalisation_of_the_encoder_stays_as_it_is():
    model = models.create("retinanet_resnet50_fpn", **PLAIN)
    frozen = models.frozen(model, "^backbone/.*/?(scale|bias|mean|var)$")
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)

    @jax.jit
    def trained(key):
        variables = frozen.init(key, images)

        def loss(params):
            given = {**variables, "params": params}
            outputs, state = frozen.apply(given, images, train=True)
            return jnp.sum(outputs["class_logits"] ** 2), (outputs, state)

        slopes, (outputs, state) = jax.grad(loss, has_aux=True)(variables["params"])
        return variables["batch_stats"], state["batch_stats"], slopes, outputs

    before, after, slopes, outputs = trained(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    for path, slope in named_leaves(slopes["backbone"]).items():
        assert np.any(slope) == path.endswith("kernel"), path
    # New weights find nothing: Lin et al. 2017, section 3.3.
    begun = float(jax.nn.sigmoid(outputs["class_logits"]).mean())
    assert begun == pytest.approx(0.01, rel=0.1)


def test_old_files_of_torchvision_have_other_names():
    rules = models.sources("retinanet_resnet50_fpn")["torchvision before 0.13"]
    named = {
        ("fpn.inner_blocks.0.0", "bias"): "backbone.fpn.inner_blocks.0.bias",
        ("fpn.extra_blocks.p6", "kernel"): "backbone.fpn.extra_blocks.p6.weight",
        ("backbone", "layer2.0", "conv1", "kernel"): (
            "backbone.body.layer2.0.conv1.weight"
        ),
        ("head.regression_head", "conv.3.0", "bias"): (
            "head.regression_head.conv.6.bias"
        ),
        ("head.regression_head", "bbox_reg", "kernel"): (
            "head.regression_head.bbox_reg.weight"
        ),
    }
    for path, expected in named.items():
        assert keys.published_key(("params", *path), rules) == expected


def test_encoders_without_the_maps_are_refused():
    model = models.create("ssd300_vgg16", encoder="resnet18")
    images = jax.ShapeDtypeStruct((1, 300, 300, 3), jnp.float32)
    with pytest.raises(UsageError, match="unknown option of encoder resnet18"):
        jax.eval_shape(model.init, jax.random.key(0), images)
    assert all(models.encoder_of(name) for name in detectors.VARIANTS)
