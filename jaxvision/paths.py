"""How arrays in a tree are named: by their path, such as `layer4.0/conv1/kernel`.

Weight decay, groups of parameters, sharding rules, checkpoints and files of weights all
know an array by this name.
"""

from typing import Any

import jax


def path_name(path: Any) -> str:
    """The name of a path of `jax.tree_util`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by the names of their paths, sorted by name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return dict(sorted((path_name(path), leaf) for path, leaf in leaves))
