"""Checks swept over the models by name."""

import inspect
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models, optim
from jaxvision.engine.state import count
from jaxvision.errors import UsageError
from jaxvision.models import detectors, measures, pose, registry, shapes

PARAMETERS = {
    # 784·10 + 10
    "perceptron": 7_850,
    # 784·300 + 300 + 300·100 + 100 + 100·10 + 10
    "mlp": 266_610,
    # 5·5·6 + 6, 5·5·6·16 + 16, 400·120 + 120, 120·84 + 84, 84·10 + 10
    "lenet5": 61_706,
    "lenet5_relu": 61_706,
    # 3·3·32 + 32, 3·3·32·64 + 64, 7·7·64·128 + 128, 128·10 + 10
    "convnet": 421_642,
    # He et al. 2016, table 6, rounds to 0.27, 0.46, 0.66, 0.85 and 1.7 M.
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}

DENSE = {
    # Down 2_800 + 13_952 + 55_552 + 221_696, up 143_680 + 36_000 + 9_040, scores 170
    "unet_small": 482_890,
    # Down 37_568 + 221_440 + 885_248 + 3_539_968 + 14_157_824,
    # up 9_176_576 + 2_294_528 + 573_824 + 143_552, scores 130
    "unet_ronneberger": 31_030_658,
}
"""Of models with a class for every pixel that nobody else publishes."""

ON_ENCODERS = [
    name
    for name in models.names()
    if models.encoder_of(name) and name not in {**detectors.VARIANTS, **pose.VARIANTS}
]
"""Models with a class for every pixel on an encoder of the zoo."""

SMALLEST = (
    "alexnet_2012", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "mobilenetv1_100", "regnet_y_400mf", "resnet18", "resnetv2_18", "senet154",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t",
    "tf_efficientnet_lite0", "vgg11", "vit_tiny_patch16_224", "xception",
)  # fmt: skip
"""Of each file of large models the one that is traced the fastest."""

QUICK = (*PARAMETERS, "resnet18", "vit_tiny_patch16_224", "mobilenetv1_100")
"""The others are in `make test-all`."""

EXHAUSTIVE = (pytest.mark.slow, pytest.mark.exhaustive)


def trained(name, batch=2, **options):
    """Variables, outputs and state of a training pass, as shapes."""
    model = models.create(name, **options)
    images = jax.ShapeDtypeStruct((batch, *models.default_input(name)), jnp.float32)
    variables = shapes.variables(name, **options)
    outputs, state = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, key=jax.random.key(1)),
        variables,
        images,
    )
    return variables, outputs, state


@pytest.mark.parametrize("name", PARAMETERS | DENSE)
def test_parameter_count_is_the_published_one(name):
    assert count(shapes.variables(name)["params"]) == (PARAMETERS | DENSE)[name]


def test_images_are_normalised_as_published_weights_expect():
    """By the cards of torchvision's default weights and of timm's, and by papers."""
    halves = {
        name for name in models.names() if models.normalisation(name)[0] == (0.5,) * 3
    }
    assert halves == {
        "googlenet", "inception_v3", "efficientnet_v2_l", "mobilenetv1_100", "xception",
        "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch32_224",
        "vit_s16_plain", "ssdlite320_mobilenet_v3_large",
        *(f"resnetv2_{layers}" for layers in (18, 34, 50, 101, 152)),
        *(f"tf_efficientnet_lite{i}" for i in range(5)),
    }  # fmt: skip
    imagenet = models.normalisation("resnet50")
    assert models.normalisation("googlenet", transform_input=True) == imagenet
    assert models.normalisation("googlenet")[1] == (0.5,) * 3


@pytest.mark.parametrize("name", [*PARAMETERS, *SMALLEST])
def test_weight_decay_shrinks_kernels_alone(name):
    params = shapes.variables(name)["params"]
    mask = optim.decay_mask(params, models.create(name).no_weight_decay)
    decayed = {
        jax.tree_util.keystr(path, simple=True, separator="/"): decays
        for path, decays in jax.tree_util.tree_leaves_with_path(mask)
    }
    for path, decays in decayed.items():
        assert decays == (path.endswith("kernel") and "cpb_mlp" not in path), path


@pytest.mark.parametrize(
    "name",
    [
        "unet_small",
        "pspnet",
        *(
            pytest.param(name, marks=EXHAUSTIVE)
            for name in ON_ENCODERS
            if name != "pspnet"
        ),
    ],
)
def test_dense_models_give_every_pixel_a_score(name):
    _, outputs, _ = trained(name, num_classes=7, dtype=jnp.bfloat16)
    height, width, _ = models.default_input(name)
    scores = {key for key in outputs if key.endswith("logits")}
    for key in scores:
        assert outputs[key].shape == (2, height, width, 7)
        assert outputs[key].dtype == jnp.float32
    assert "logits" in scores
    features = outputs.keys() - scores
    assert all(outputs[key].dtype == jnp.bfloat16 for key in features)


def test_images_that_do_not_fit_a_small_u_net_are_refused():
    with pytest.raises(UsageError, match="sides are multiples of 8, got 60×64"):
        model = models.create("unet_small")
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 60, 64, 3)))


def test_every_parameter_count_is_the_published_one():
    # Those of torchvision and timm were counted where their weights were compared.
    file = Path(__file__).parents[1] / "pretrained" / "references.json"
    published = {
        name: found.get("published", found["parameters"])
        for name, found in json.loads(file.read_text()).items()
        if "/" not in name
    }
    recorded = {name: found.parameters for name, found in measures.recorded().items()}
    assert recorded == published | PARAMETERS | DENSE


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else EXHAUSTIVE)
        for name in (*PARAMETERS, *SMALLEST)
    ],
)
def test_trains_in_bfloat16_to_named_activations(name):
    remat = {"remat": True} if "remat" in fields(name) else {}
    variables, outputs, state = trained(
        name, num_classes=7, dtype=jnp.bfloat16, **remat
    )
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(variables)} == {"float32"}
    assert outputs["logits"].shape == (2, 7)
    assert outputs["logits"].dtype == jnp.float32
    assert outputs["pre_logits"].shape[0] == 2
    stages = {key for key in outputs if key.startswith("stage")}
    assert name in PARAMETERS or len(stages) >= 3
    assert all(outputs[stage].dtype == jnp.bfloat16 for stage in stages)
    expected = {k: v for k, v in variables.items() if k != "params"}
    assert jax.tree.structure(state) == jax.tree.structure(expected)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("vit_tiny_patch16_224", "mnasnet0_5")
        ),
    ],
)
def test_rematerialisation_changes_no_names_and_no_numbers(name):
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    options = {"dropout": 0.0} if name == "mnasnet0_5" else {}
    plain = models.create(name, **options)
    remat = models.create(name, remat=True, **options)
    variables = jax.eval_shape(plain.init, jax.random.key(1), images)
    assert variables == jax.eval_shape(remat.init, jax.random.key(1), images)
    if name == "mnasnet0_5":
        variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), variables)
        one, two = (
            jax.jit(lambda v, m=m: m.apply(v, images, train=True)[0]["logits"])(
                variables
            )
            for m in (plain, remat)
        )
        np.testing.assert_allclose(one, two, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["lenet5", "convnet", "mlp", "resnet20", "resnet18", "squeezenet1_1",
             "googlenet", "resnetv2_18", "alexnet_fcn"]
)  # fmt: skip
def test_without_classes_there_are_features_only(name):
    full, outputs, _ = trained(name, batch=1)
    variables, features, _ = trained(name, batch=1, num_classes=0)
    assert set(outputs) - set(features) == {"logits"} | {
        key for key in outputs if key.startswith("aux")
    }
    assert features["pre_logits"].shape == outputs["pre_logits"].shape
    assert count(variables["params"]) < count(full["params"])


@pytest.mark.parametrize(
    "name, side",
    [
        ("alexnet", 63),
        ("squeezenet1_1", 17),
        pytest.param("inception_v3", 75, marks=pytest.mark.slow),
    ],
)
def test_images_that_are_too_small_name_the_smallest_size(name, side):
    model = models.create(name)

    def init(side):
        images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        return jax.eval_shape(model.init, jax.random.key(0), images)

    with pytest.raises(UsageError, match=f"takes {side}×{side} and more"):
        init(side - 1)
    init(side)


def test_images_that_cannot_be_cut_name_the_multiple():
    for name, message in (("vit_b_16", "16×16"), ("maxvit_t", "multiples of 224")):
        images = jax.ShapeDtypeStruct((1, 230, 230, 3), jnp.float32)
        with pytest.raises(UsageError, match=message):
            jax.eval_shape(models.create(name).init, jax.random.key(0), images)


@pytest.mark.parametrize("shape", [(1, 32, 32, 1), (1, 48, 48, 3)])
def test_variables_for_other_images_are_refused(shape):
    model = models.create("vit_tiny_patch16_224", depth=4)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    with pytest.raises(UsageError, match="not made for ViT with images of"):
        jax.eval_shape(model.apply, variables, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_every_model_has_a_paper_but_the_pattern_of_all():
    assert models.paper("resnet50") == (
        "He et al. 2016, https://arxiv.org/abs/1512.03385"
    )
    assert "1611.05431" in models.paper("resnext50_32x4d")
    papers = {name: models.paper(name) for name in models.names()}
    assert papers.pop("convnet") == ""
    for paper in papers.values():
        assert re.fullmatch(
            r"[A-Z]\w+( et al\.| and [A-Z]\w+)? \d{4}, https://\S+\w", paper
        )


def fields(name):
    return inspect.signature(registry.build(name).__class__).parameters


def test_unknown_names_and_options_name_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'lenet5'"):
        models.create("lenet_5")
    with pytest.raises(UsageError, match="did you mean 'num_classes'"):
        models.create("mlp", num_clases=3)


def test_lenet5_is_the_table_of_1998():
    _, outputs, _ = trained("lenet5")
    assert {name: value.shape[1:] for name, value in outputs.items()} == {
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "c5": (120,),
        "pre_logits": (84,),
        "logits": (10,),
    }
    with pytest.raises(UsageError, match="28×28"):
        models.create("lenet5").init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))


@pytest.mark.parametrize("n, m, k", [(0, 0, 0), (1, 1, 0), (3, 2, 1), (2, 3, 2)])
def test_convnet_follows_its_three_numbers(n, m, k):
    variables, outputs, _ = trained("convnet", n=n, m=m, k=k)
    layers = [name.partition("_")[0] for name in variables["params"]]
    assert layers.count("Conv") == n * m
    assert layers.count("Dense") == k + 1
    assert sum(name.startswith("block") for name in outputs) == m
    if m:
        assert outputs[f"block{m}"].shape[1] == 28 // 2**m


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(m=5), "M ≤ 4"),
        (dict(n=-1), "must not be negative"),
        (dict(features=(8,)), "one entry for each"),
        (dict(dropout=1.0), "dropout"),
    ],
)
def test_convnet_refuses_impossible_numbers(options, message):
    with pytest.raises(UsageError, match=message):
        trained("convnet", **options)


def test_dropout_draws_from_the_key_and_only_in_training():
    model = models.create("convnet", dropout=0.5, features=(4, 4), hidden=16)
    images = jax.random.normal(jax.random.key(0), (2, 28, 28, 1))
    variables = model.init(jax.random.key(1), images)

    def logits(train, key=None):
        return model.apply(variables, images, train=train, key=key)[0]["logits"]

    first = logits(True, jax.random.key(2))
    assert jnp.array_equal(first, logits(True, jax.random.key(2)))
    assert not jnp.array_equal(first, logits(True, jax.random.key(3)))
    assert jnp.array_equal(logits(False), logits(False))


@pytest.mark.slow
def test_batch_norm_learns_its_statistics_only_in_training():
    model = models.create("resnet20", width=2)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3)) + 3
    variables = model.init(jax.random.key(1), images)
    _, trained = model.apply(variables, images, train=True)
    _, evaluated = model.apply(variables, images, train=False)
    before = variables["batch_stats"]["bn1"]["mean"]
    assert not jnp.allclose(trained["batch_stats"]["bn1"]["mean"], before)
    assert jnp.array_equal(evaluated["batch_stats"]["bn1"]["mean"], before)
