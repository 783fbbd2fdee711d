"""Classifiers as encoders: their maps, by stride or by name, and nothing else."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import BatchNorm
from jaxvision.models.encoder import COMPLETE, encode
from jaxvision.paths import named_leaves


class Own(nn.Module):
    """A network of one's own, with something beside and after its maps."""

    width: int = 4

    @nn.compact
    def __call__(self, images, *, train):
        norm = partial(BatchNorm, use_running_average=not train)
        fine = norm(name="n1")(Conv(self.width, 3, 2, 1, name="c1")(images))
        beside = Conv(3, name="beside")(fine)
        coarse = Conv(2 * self.width, 3, 2, 1, name="c2")(nn.relu(fine))
        last = norm(name="n3")(Conv(5, 1, name="c3")(coarse + beside.mean()))
        logits = nn.Dense(7, name="fc")(last.mean((1, 2)))
        return {"fine": fine, "coarse": coarse, "last": last, "logits": logits}


class Pyramid(nn.Module):
    """A convolution for each of the strides 2, 4, 8, 16 and 32."""

    output_stride: int = 32

    @nn.compact
    def __call__(self, images, *, train):
        x, maps = images, {}
        for stride in (2, 4, 8, 16, 32):
            strides = 2 if stride <= self.output_stride else 1
            x = Conv(8, 3, strides, 1, name=f"c{stride}")(x)
            maps[f"map{stride}"] = x
        return maps


class Neck(nn.Module):
    encoder: models.encoder.Encoder
    wanted: tuple = (2, "coarse")

    @nn.compact
    def __call__(self, images, *, train):
        return encode(self.encoder, images, self.wanted, train=train)


def made(network, side=64):
    """The parameters' paths inside of the encoder, and its outputs."""
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    outputs, _ = jax.eval_shape(
        lambda v, x: network.apply(v, x, train=True, key=jax.random.key(1)),
        variables,
        images,
    )
    return {path.split("/")[1] for path in named_leaves(variables["params"])}, outputs


def neck(encoder, *wanted):
    return models.from_linen(Neck(encoder, wanted))


def test_maps_are_those_of_the_network_alone():
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    whole, part = models.from_linen(Own()), neck(Own, 2, "coarse")
    shapes = jax.eval_shape(part.init, jax.random.key(1), images)
    # `beside` changes what comes after the coarse map alone.
    assert shapes["params"]["backbone"].keys() == {"c1", "n1", "c2"}
    assert shapes["batch_stats"]["backbone"].keys() == {"n1"}

    def both(key):
        variables = whole.init(key, images)
        inner = {
            kind: {
                "backbone": {name: variables[kind][name] for name in tree["backbone"]}
            }
            for kind, tree in shapes.items()
        }
        expected, new = whole.apply(variables, images, train=True)
        found, state = part.apply(inner, images, train=True)
        frozen = models.frozen(part, "^backbone/")
        _, kept = frozen.apply(inner, images, train=True)
        names.extend(found)
        means = [
            tree["n1"]["mean"]
            for tree in (
                new["batch_stats"],
                state["batch_stats"]["backbone"],
                kept["batch_stats"]["backbone"],
            )
        ]
        return found, {name: expected[name] for name in found}, means

    names: list[str] = []
    compiled = (
        jax.jit(both)
        .lower(jax.random.key(1))
        .compile({"xla_backend_optimization_level": 0})
    )
    found, expected, (mean, same, kept) = compiled(jax.random.key(1))
    assert names == ["fine", "coarse"]
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    np.testing.assert_array_equal(mean, same)
    assert np.any(mean) and not np.any(kept)
    assert jnp.ptp(found["coarse"]) > 0.1


@pytest.mark.parametrize(
    "name, wanted, has, lacks",
    [
        ("vgg11", (2, 32), {"features.18"}, {"classifier.0"}),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                ("resnet18", (4, 8), {"layer1.0", "layer2.1"}, {"layer3.0", "fc"}),
                ("mobilenet_v3_small", (32,), {"features.12.0"}, {"classifier.0"}),
                ("efficientnet_b0", (32,), {"features.7.0"}, {"features.8.0"}),
            )
        ),
    ],
)
def test_layers_after_the_maps_have_no_parameters(name, wanted, has, lacks):
    parts, outputs = made(neck(name, *wanted))
    levels = models.levels(name)
    assert [*outputs] == sorted(levels[stride].name for stride in wanted)
    assert has <= parts
    assert not lacks & parts


def test_what_is_not_needed_is_left_out_of_remat_and_training_too():
    options = {"depths": (1, 1, 1, 1), "remat": True}
    model = models.create("pspnet", encoder="resnet18", encoder_options=options)
    parts, _ = made(model)
    assert "layer2.0" in parts and "layer3.0" not in parts


@pytest.mark.slow
def test_the_named_encoders_have_all_strides():
    for name in COMPLETE:
        assert {2, 4, 8, 16, 32} <= models.levels(name).keys()


@pytest.mark.parametrize(
    "encoder, wanted, side, message",
    [
        ("resnet43", (8,), 64, "unknown encoder 'resnet43': did you mean"),
        ("unet_small", (8,), 64, "unknown encoder 'unet_small'"),
        ("vit_tiny_patch16_224", (8, 16), 64,
         "maps at strides 16, and none at 8, which this network needs: .* resnet34"),
        ("lenet5", (2,), 32, "lenet5 takes images of one size only"),
        ("mlp", (2,), 28, "mlp has no maps, and none at 2"),
        ("squeezenet1_1", (2,), 64,
         "maps of 31×31 at stride 2 from images of 64×64, and not of 32×32"),
        ("resnet18", ("stage9",), 64, "activation of resnet18 'stage9': did you mean"),
    ],
)  # fmt: skip
def test_encoders_that_do_not_fit_are_explained(encoder, wanted, side, message):
    with pytest.raises(UsageError, match=message):
        made(neck(encoder, *wanted), side)


@pytest.mark.parametrize(
    "name, options, side, message",
    [
        ("unet", dict(encoder="resnet20"), 64, "resnet20 has .*none at 8, 16, 32"),
        ("fpn", dict(encoder_options={"wide": 1}), 64, "encoder resnet34 'wide'"),
        ("deeplabv3plus", dict(encoder="vgg11"), 64, "encoder vgg11 'output_stride'"),
        (
            "linknet",
            {},
            60,
            "LinkNet wants images whose sides are multiples of 32, got",
        ),
        ("pspnet", {}, 60, "PSPNet wants images whose sides are multiples of 8, got"),
    ],
)
def test_decoders_refuse_what_does_not_fit(name, options, side, message):
    with pytest.raises(UsageError, match=message):
        made(models.create(name, **options), side)


@pytest.mark.parametrize(
    "name, options, side",
    [
        ("unet", {}, 45),
        ("unetplusplus", {}, 64),
        ("linknet", {}, 64),
        ("fpn", {}, 64),
        ("pspnet", {}, 40),
        ("deeplabv3plus", {}, 48),
        ("fcn_resnet50", dict(aux_from="map16"), 45),
        ("deeplabv3_resnet50", dict(aux=False), 45),
        ("lraspp_mobilenet_v3_large", dict(low_from="map8"), 45),
    ],
)
def test_decoders_take_encoders_of_ones_own(name, options, side):
    model = models.create(name, encoder=Pyramid, num_classes=2, **options)
    parts, outputs = made(model, side)
    assert outputs["logits"].shape == (1, side, side, 2)
    assert ("aux_logits" in outputs) == ("aux_from" in options)
    deepest = "c8" if name == "pspnet" else "c32"
    assert deepest in parts and (name == "pspnet") == ("c32" not in parts)


def test_without_classes_there_are_features_only():
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    model = models.create("pspnet", encoder=Pyramid, num_classes=0)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs, _ = jax.eval_shape(model.apply, variables, images)
    assert "logits" not in outputs and "pooled" in outputs


def test_a_classifier_becomes_the_encoder_of_a_larger_network():
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    fields = {"width": 4, "depths": (1, 1, 1, 1)}
    options = {"encoder": "resnet18", "encoder_options": fields}
    init = models.create("resnet18", **fields).init
    classifier = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(init, jax.random.key(0), images),
    )
    part = models.into_backbone("pspnet", classifier, **options)
    model = models.create("pspnet", **options)
    shapes = jax.eval_shape(model.init, jax.random.key(1), images)
    for kind, tree in part.items():
        assert tree.keys() == {"backbone"}
        taken, wanted = tree["backbone"], shapes[kind]["backbone"]
        assert jax.tree.structure(taken) == jax.tree.structure(wanted)
        assert "layer3.0" not in taken and "fc" not in taken
    kernel = classifier["params"]["conv1"]["kernel"]
    assert part["params"]["backbone"]["conv1"]["kernel"] is kernel
    with pytest.raises(UsageError, match="not those of the encoder of pspnet"):
        models.into_backbone("pspnet", classifier)
