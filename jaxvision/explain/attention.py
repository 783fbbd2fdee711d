"""What the tokens of a transformer look at.

The weights of attention are no outputs of a network.  They are found in its program, as
a softmax that multiplies something else, whoever wrote it.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp

from jaxvision.errors import UsageError
from jaxvision.explain.scores import Forward
from jaxvision.explain.traced import MOVES, Program, trace
from jaxvision.types import Array


def attention_maps(forward: Forward, images: Array) -> list[Array]:
    """The weights of each attention, in the order of the layers, [B,h,N,M].

    B images (or windows), h heads, N tokens that look and M that are looked at; each
    row adds up to 1.  Empty for a network without attention.
    """
    program = trace(lambda images: dict(forward(images)), images)
    found = _weights(program)
    values = program.evaluate([images], [number for number, _ in found])
    ordered = [v.transpose(order) for v, (_, order) in zip(values, found, strict=True)]
    # Heads may lie in groups, which are axes of their own.
    return [v.reshape(len(v), -1, *v.shape[-2:]) for v in ordered if v.ndim >= 4]


def attention_rollout(forward: Forward, images: Array) -> Array:
    """How much each patch counts for what is classified, through all layers, [B,h,w].

    The weights of the heads are averaged, the shortcut beside each attention counts as
    much as the attention, and the layers are multiplied.  What is classified is the
    class token where there is one, and else the mean of all tokens.

    Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928

    Raises `UsageError` for a network without attention, and for one whose tokens do not
    all look at each other, as those of windows.
    """
    count, height, width, _ = images.shape
    layers = attention_maps(forward, images)
    if not layers:
        raise UsageError(
            "this network has no attention: attention rollout is for transformers"
        )
    shapes = {layer.shape[0:1] + layer.shape[2:] for layer in layers}
    tokens = layers[0].shape[-1]
    if shapes != {(count, tokens, tokens)}:
        raise UsageError(
            "attention rollout is for networks in which each token looks at all "
            "others in every layer, and this one's look at windows, or at fewer"
        )
    rows, columns = _grid(tokens, height, width)
    own = tokens - rows * columns
    flow = jnp.broadcast_to(jnp.eye(tokens), (count, tokens, tokens))
    for layer in layers:
        mixed = (layer.astype(jnp.float32).mean(1) + jnp.eye(tokens)[None]) / 2
        flow = jnp.einsum("bij,bjk->bik", mixed, flow, precision="highest")
    seen = flow[:, 0] if own else flow.mean(1)
    return seen[:, own:].reshape(count, rows, columns)


def _grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the patches, of which all tokens but one or two are."""
    for own in range(3):
        side = math.sqrt(height * width / (tokens - own)) if tokens > own else 0
        if side and side == round(side) and not (height % side or width % side):
            return height // round(side), width // round(side)
    raise UsageError(
        f"{tokens} tokens are no grid of square patches of {height}×{width} pixels"
    )


def _weights(program: Program) -> list[tuple[int, tuple[int, ...]]]:
    """The numbers of the weights, each with the axes that make it [B,h,N,M]."""
    exponentials: set[int] = set()
    shares: set[int] = set()
    axes: dict[int, int] = {}
    found: list[tuple[int, tuple[int, ...]]] = []
    for each in program.equations:
        axes |= zip(each.outputs, map(len, each.shapes), strict=True)
        if each.name == "exp":
            exponentials |= {*each.outputs}
        elif each.name == "div" and each.inputs[0] in exponentials:
            shares |= {*each.outputs}
        elif each.name in MOVES:
            for kind in (exponentials, shares):
                if each.inputs[0] in kind:
                    kind |= {*each.outputs}
        elif each.name == "dot_general":
            contracted, batch = each.params["dimension_numbers"]
            for number, over, together in zip(
                each.inputs, contracted, batch, strict=True
            ):
                if number in shares and len(over) == 1 and together:
                    found.append((number, _order(axes[number], together, over)))
    return found


def _order(axes: int, together: Sequence[int], over: Sequence[int]) -> tuple[int, ...]:
    """The axes that are computed apart first, and last that which is summed over."""
    looking = [axis for axis in range(axes) if axis not in (*together, *over)]
    return (*together, *looking, *over)
