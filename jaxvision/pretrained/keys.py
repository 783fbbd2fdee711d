"""Names and axis orders of our arrays in published weights.

Our modules have the names of the published ones, so that our path
`params / layer1.0 / conv1 / kernel` is their `layer1.0.conv1.weight`.  Where names
differ, the rules are in `Variant.sources` of each model.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.models.variant import Rules
from jaxvision.types import PyTree

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}

IGNORED = re.compile(
    r"(^|\.)(num_batches_tracked|n_averaged|total_ops|total_params"
    r"|relative_position_index|relative_coords_table|attn_mask)$"
)
"""Names of counters, and of constants that follow from the architecture."""

Path = tuple[str, ...]
"""Keys of an array in the variables: `("params", "layer1.0", "conv1", "kernel")`."""


def joined(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict with the separate biases of timm's Swin v2 joined.

    timm has a bias of the queries and one of the values; here is one for both and the
    keys, whose part is zeros.
    """
    result = dict(state)
    for key in state:
        if key.endswith(".q_bias") and f"{key[:-6]}v_bias" in state:
            query, value = result.pop(key), result.pop(f"{key[:-6]}v_bias")
            bias = np.concatenate([query, np.zeros_like(query), value])
            result[f"{key[:-6]}qkv.bias"] = bias
    return result


def flatten(variables: PyTree) -> dict[Path, np.ndarray]:
    """The leaves of nested dicts by their path."""
    flat: dict[Path, np.ndarray] = {}
    for name, value in variables.items():
        if isinstance(value, Mapping):
            flat |= {(name, *path): leaf for path, leaf in flatten(value).items()}
        else:
            flat[(name,)] = value
    return flat


def unflatten(flat: Mapping[Path, Any]) -> dict[str, PyTree]:
    """Nested dicts of leaves by their path."""
    tree: dict[str, PyTree] = {}
    for path, leaf in flat.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf
    return tree


def published_key(path: Path, rules: Rules) -> str:
    """`("params", "layer1.0", "conv1", "kernel") -> "layer1.0.conv1.weight"`"""
    key = ".".join([*path[1:-1], LEAVES.get(path[-1], path[-1])])
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def axes(path: Path, ndim: int) -> tuple[int, ...]:
    """The order of our axes in published weights: kernels have their outputs first.

    A convolution's [K,K,C,O] is [O,C,K,K] there, a dense layer's [C,O] is [O,C].
    """
    if path[-1] != "kernel":
        return tuple(range(ndim))
    return (ndim - 1, ndim - 2, *range(ndim - 2))


def published_shapes(variables: PyTree, rules: Rules) -> dict[str, tuple[int, ...]]:
    """The shapes of a published state dict by its names, in the order of its arrays."""
    return {
        published_key(path, rules): published_shape(path, leaf.shape)
        for path, leaf in flatten(variables).items()
    }


def published_shape(path: Path, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that our array of this shape has in published weights."""
    return tuple(shape[axis] for axis in axes(path, len(shape)))


def to_published(path: Path, array: np.ndarray) -> np.ndarray:
    """Our array as published weights hold it."""
    return np.ascontiguousarray(np.transpose(array, axes(path, array.ndim)))


def from_published(path: Path, array: np.ndarray) -> np.ndarray:
    """The inverse of `to_published`."""
    return np.ascontiguousarray(np.transpose(array, np.argsort(axes(path, array.ndim))))
