"""In which order images meet the blocks of a network.

Fine-tuning goes by it: rates that fall from block to block, last blocks trained first.

    optim.layer_decay(optimizer, models.blocks("resnet50"), 0.75)
"""

import re
from functools import cache

import jax
import jax.numpy as jnp

from jaxvision.models import registry, shapes
from jaxvision.models.encoder import BACKBONE
from jaxvision.paths import path_name
from jaxvision.types import Model, Variables

Blocks = tuple[tuple[str, ...], ...]
"""For each block, by rising depth, how the paths of its parameters begin."""


def blocks(
    model: Model | str, input_shape: tuple[int, int, int] | None = None
) -> Blocks:
    """The blocks of a model, or of the model of that name, by rising depth.

        (("conv1", "bn1"), ("layer1.0",), ("layer1.1",), …, ("fc",))    resnet18

    A block has the parameters whose paths share the first name, with the number that
    follows it where, as in a list of NNX, nothing else does; in an encoder, the first
    name inside of it.  The order
    is that in which a training pass first uses them, so no model has to declare it.
    What has no kernel, such as a norm or position embeddings, belongs to the block
    before it.

    `input_shape` (H, W, C) is a size that the model takes; the default is that of the
    named model, or 224×224×3.  Nothing is computed: the pass is only traced.
    """
    if isinstance(model, str):
        return _of_name(model, input_shape or registry.default_input(model))
    images = _images(input_shape or (224, 224, 3))
    return _of_model(
        model, jax.eval_shape(model.init, jax.random.key(0), images), images
    )


@cache
def _of_name(name: str, input_shape: tuple[int, int, int]) -> Blocks:
    variables = shapes.variables(name, input_shape)
    return _of_model(registry.create(name), variables, _images(input_shape))


def _images(shape: tuple[int, int, int]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def _of_model(
    model: Model, variables: Variables, images: jax.ShapeDtypeStruct
) -> Blocks:
    key = jax.random.key(0)
    variables = dict(variables)
    params = variables.pop("params")

    def training(params, images):
        return model.apply({"params": params, **state}, images, train=True, key=key)

    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), variables)
    program = jax.make_jaxpr(training)(params, images).jaxpr
    paths = {  # in the order of the arguments
        path_name(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    arguments = {id(v): path for path, v in zip(paths, program.invars, strict=False)}
    used = [arguments.get(id(v)) for each in program.eqns for v in each.invars]
    block = {path: _block(path) for path in paths}
    names = set(block.values())
    for path, name in block.items():  # a list beside other names is one block with them
        parent, _, _ = name.rpartition("/")
        block[path] = parent if parent in names else name
    order = dict.fromkeys(block[path] for path in [*filter(None, used), *paths])
    with_kernel = {
        block[path]
        for path, leaf in paths.items()
        if leaf.ndim > 1 and not any(re.search(p, path) for p in model.no_weight_decay)
    }
    found: list[tuple[str, ...]] = []
    for name in order:
        if found and name not in with_kernel:
            found[-1] += (name,)
        else:
            found.append((name,))
    return tuple(found)


def _block(path: str) -> str:
    first, *rest = path.split("/")
    if first == BACKBONE:  # a network of its own
        return f"{first}/{_block('/'.join(rest))}"
    return "/".join([first, *rest[:1]]) if rest and rest[0].isdecimal() else first
