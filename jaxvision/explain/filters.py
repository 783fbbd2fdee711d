"""The filters that meet the image first, at the end of a training and on the way."""

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_leaves_with_path

from jaxvision.errors import UsageError
from jaxvision.explain.traced import MOVES, trace
from jaxvision.paths import named_leaves, path_name
from jaxvision.types import Model, PyTree, Variables


def first_filters(
    model: Model, variables: Variables, input_shape: tuple[int, int, int]
) -> np.ndarray:
    """The weights of the first convolution, [K,K,C,O], or of the first fully connected
    layer, as images [H,W,C,O].

    Args:
      input_shape: (H, W, C) of the images.

    Raises `UsageError` for a network that begins with something else.
    """
    return _as_filters(
        named_leaves(variables)[_first_name(model, variables, input_shape)], input_shape
    )


def filters_over_training(
    model: Model,
    moments: Iterable[tuple[int, Callable[[], Variables]]],
    input_shape: tuple[int, int, int],
) -> list[tuple[int, np.ndarray]]:
    """The same at several moments, `(step, how its variables are read)` each."""
    found, name = [], None
    for step, read in moments:
        variables = read()
        name = name or _first_name(model, variables, input_shape)
        found.append((step, _as_filters(named_leaves(variables)[name], input_shape)))
    return found


def _as_filters(weights, input_shape: Sequence[int]) -> np.ndarray:
    weights = np.asarray(weights, np.float32)
    return weights if weights.ndim == 4 else weights.reshape(*input_shape, -1)


def _first_name(
    model: Model, variables: Variables, input_shape: tuple[int, int, int]
) -> str:
    """The path of the first array that multiplies the image."""
    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)

    def outputs(variables: PyTree, images):
        return dict(model.apply(variables, images)[0])

    program = trace(outputs, variables, images)
    *weights, image = program.inputs
    paths = [path_name(path) for path, _ in tree_leaves_with_path(variables)]
    names = dict(zip(weights, paths, strict=True))
    seeing = program.depends_on([image])
    for each in program.equations:
        if each.name in MOVES and each.inputs[0] in names:
            names[each.outputs[0]] = names[each.inputs[0]]
        if each.name in ("conv_general_dilated", "dot_general"):
            one, other = each.inputs
            if one in seeing and other in names:
                return names[other]
    raise UsageError(
        "this network begins neither with a convolution nor with a fully connected "
        "layer: it has no filters of the image"
    )
