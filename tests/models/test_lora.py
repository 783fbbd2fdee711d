"""LoRA: equal outputs at first, equal outputs when merged, and nothing else moves."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.paths import named_leaves as paths

IMAGES = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
TINY = dict(depth=2, heads=2, features=8, hidden=16, num_classes=3)


def vit(**options):
    model = models.create("vit_tiny_patch16_224", **TINY)
    return model, models.lora(model, **options)


def drawn(model):
    """Variables none of which is zero, so that every gradient could be seen."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(shapes)))
    flat, tree = jax.tree.flatten(shapes)
    draws = [
        0.3 * jax.random.normal(key, x.shape) for key, x in zip(keys, flat, strict=True)
    ]
    return jax.tree.unflatten(tree, draws)


def begun(model):
    """What is added to the variables, as it is drawn."""

    def added(key):
        found = paths(model.init(key, IMAGES))
        return {path: leaf for path, leaf in found.items() if "lora" in path}

    return jax.jit(added)(jax.random.key(0))


def logits(model, variables):
    return jax.jit(model.apply)(variables, IMAGES)[0]["logits"]


@pytest.mark.slow
def test_outputs_are_those_of_the_model_before_and_after_merging():
    model, adapted = vit(rank=3, alpha=6)
    learned, plain = drawn(adapted), drawn(model)
    first = {
        path: jnp.zeros_like(leaf) if path.endswith("lora_b") else leaf
        for path, leaf in paths(learned).items()
    }
    first = jax.tree.unflatten(jax.tree.structure(learned), first.values())
    plain = models.without(first, [p.removeprefix("params/") for p in begun(adapted)])
    np.testing.assert_array_equal(logits(adapted, first), logits(model, plain))

    merged = models.merge_lora(learned, alpha=6)
    assert paths(merged).keys() == paths(plain).keys()
    found = logits(model, merged)
    np.testing.assert_allclose(logits(adapted, learned), found, rtol=1e-5, atol=1e-6)
    without = {
        path: leaf for path, leaf in paths(learned).items() if "lora" not in path
    }
    changed = [path for path in without if (without[path] != paths(merged)[path]).any()]
    assert len(changed) == 4 and all("self_attention" in path for path in changed)
    layer = learned["params"]["encoder.layers.encoder_layer_0"][
        "self_attention.in_proj"
    ]
    expected = layer["kernel"] + 6 / 3 * (layer["lora_a"] @ layer["lora_b"])
    found = merged["params"]["encoder.layers.encoder_layer_0"]["self_attention.in_proj"]
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-6)
    assert layer["lora_a"].shape == (8, 3) and layer["lora_b"].shape == (3, 24)


def test_the_change_is_nothing_at_first():
    found = begun(vit(rank=4)[1])
    assert len(found) == 8
    for path, leaf in found.items():
        deviation = float(leaf.std())
        assert deviation == 0 if path.endswith("lora_b") else 0.2 < deviation < 0.5
    a = [leaf for path, leaf in found.items() if path.endswith("lora_a")]
    assert not np.allclose(a[0], a[1])  # each is drawn for itself


def test_only_what_is_added_and_the_head_gets_a_gradient():
    _, adapted = vit(rank=2)
    trained = rf"^(heads\.head/|.*{models.LORA})"
    model = models.frozen(adapted, f"^(?!{trained[1:]})")
    variables = drawn(model)

    @jax.jit
    def gradient(params):
        def loss(params):
            outputs, _ = model.apply({"params": params}, IMAGES, train=True)
            return jnp.sum(outputs["logits"] ** 2)

        return jax.grad(loss)(params)

    for path, leaf in paths(gradient(variables["params"])).items():
        assert bool((leaf != 0).any()) == bool(re.search(trained, path)), path


@pytest.mark.parametrize(
    ("name", "layers"),
    [("vit_tiny_patch16_224", 2), ("swin_t", 2), ("swin_v2_t", 2), ("maxvit_t", 4)],
)
def test_the_layers_of_attention_are_found(name, layers):
    blocks = {"vit_tiny_patch16_224": 12, "maxvit_t": 11}.get(name, 12)
    model = models.lora(models.create(name), rank=2)
    images = jax.ShapeDtypeStruct((1, *models.default_input(name)), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    adapted = [path for path in paths(params) if path.endswith("lora_a")]
    assert len(adapted) == blocks * layers
    assert not any(re.search(r"cpb_mlp|mlp\.|mlp_layer", path) for path in adapted)


def test_it_is_rebuilt_in_another_precision():
    _, adapted = vit(rank=2)
    variables = drawn(adapted)
    low = adapted.rebuild(dtype=jnp.bfloat16)
    stage = jax.eval_shape(low.apply, variables, IMAGES)[0]["stage1"]
    assert stage.dtype == jnp.bfloat16
    assert paths(variables).keys() == paths(drawn(low)).keys()


def test_bad_input():
    model = models.create("resnet20", blocks=1, width=4)
    with pytest.raises(UsageError, match="a network without attention has none"):
        jax.eval_shape(models.lora(model).init, jax.random.key(0), IMAGES)
    with pytest.raises(UsageError, match="rank must be at least 1, got 0"):
        models.lora(model, rank=0)
    with pytest.raises(UsageError, match="alpha must be positive, got -1"):
        models.lora(model, alpha=-1)
