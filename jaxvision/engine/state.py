"""All that a training step changes, as one value."""

import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.paths import named_leaves
from jaxvision.types import Array, ModelState, PyTree, Sums, Variables


class Totals(NamedTuple):
    """Sums over the training steps since the last row of the log."""

    task: Sums
    """Those of `Task.loss`."""
    gradient_norm: Array
    """float32: of the norms of the gradients, see `measures.GRADIENT_NORM`."""
    steps: Array
    """int32: how many they are, without those that had no effect."""


class TrainState(NamedTuple):
    """What a checkpoint holds of the device; with the iterator's state, everything."""

    step: Array
    """int32: steps done."""
    params: PyTree
    model_state: ModelState
    opt_state: PyTree
    key: Array
    """The data of the run's random key.  Step t uses its t-th fold, so no step depends
    on how many random numbers another one drew."""
    sums: Totals | None
    """What the next row of the log is made of; None outside training."""
    average: PyTree = None
    """`{"params": …, "model_state": …}` averaged over steps, if the experiment asks."""
    guard: PyTree = None
    """What is remembered to recognise a bad step, if the experiment has such a rule."""


def parted(variables: Variables) -> tuple[PyTree, ModelState]:
    """What is learned by gradient, and the rest."""
    rest = {name: value for name, value in variables.items() if name != "params"}
    return variables["params"], rest


def of_variables(variables: Variables, seed: int = 0) -> TrainState:
    """The state of a network that is evaluated and not trained."""
    params, model_state = parted(variables)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        model_state=model_state,
        opt_state=None,
        key=jax.random.key_data(jax.random.key(seed)),
        sums=None,
    )


def count(params: PyTree) -> int:
    """The number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def digest(params: PyTree) -> str:
    """SHA-256 over paths, dtypes, shapes and bytes, in path order."""
    sha = hashlib.sha256()
    for path, leaf in named_leaves(params).items():
        array = np.asarray(leaf)
        sha.update(f"{path} {array.dtype} {array.shape}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()
