"""Checks swept over every model by name."""

import jax
import jax.numpy as jnp
import pytest

from jaxvision import models
from jaxvision.engine.state import count
from jaxvision.errors import UsageError

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
    # Those of torchvision's models, to the parameter.
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


def shapes(name, batch=2, **options):
    model = models.create(name, **options)
    images = jax.ShapeDtypeStruct((batch, *models.default_input(name)), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs, state = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, key=jax.random.key(1)),
        variables,
        images,
    )
    return variables, outputs, state


@pytest.mark.parametrize("name", models.names())
def test_parameter_count_is_the_published_one(name):
    assert count(shapes(name)[0]["params"]) == PARAMETERS[name]


@pytest.mark.parametrize("name", models.names())
def test_outputs_are_named_activations(name):
    variables, outputs, state = shapes(name, num_classes=7)
    assert outputs["logits"].shape == (2, 7)
    assert outputs["logits"].dtype == jnp.float32
    assert outputs["pre_logits"].shape[0] == 2
    expected = {k: v for k, v in variables.items() if k != "params"}
    assert jax.tree.structure(state) == jax.tree.structure(expected)


@pytest.mark.parametrize("name", models.names())
def test_bfloat16_computes_so_and_keeps_float32_parameters(name):
    variables, outputs, _ = shapes(name, dtype=jnp.bfloat16)
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(variables)}
    assert dtypes == {"float32"}
    assert outputs["pre_logits"].dtype in (jnp.bfloat16, jnp.float32)
    assert outputs["logits"].dtype == jnp.float32


def test_unknown_names_and_options_name_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'lenet5'"):
        models.create("lenet_5")
    with pytest.raises(UsageError, match="did you mean 'num_classes'"):
        models.create("mlp", num_clases=3)


def test_lenet5_is_the_table_of_1998():
    _, outputs, _ = shapes("lenet5")
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
    variables, outputs, _ = shapes("convnet", n=n, m=m, k=k)
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
        shapes("convnet", **options)


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


def test_batch_norm_learns_its_statistics_only_in_training():
    model = models.create("resnet20", width=2)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3)) + 3
    variables = model.init(jax.random.key(1), images)
    _, trained = model.apply(variables, images, train=True)
    _, evaluated = model.apply(variables, images, train=False)
    before = variables["batch_stats"]["stem_norm"]["mean"]
    assert not jnp.allclose(trained["batch_stats"]["stem_norm"]["mean"], before)
    assert jnp.array_equal(evaluated["batch_stats"]["stem_norm"]["mean"], before)
