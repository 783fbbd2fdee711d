"""LoRA: changes of low rank to kernels that are themselves not trained.

Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError, check
from jaxvision.types import Model, PyTree, Variables

ATTENTION = r"(attn|self_attention)(?!.*cpb_mlp).*/kernel$"
"""Found in the paths of the linear layers of attention, of every network here: queries,
keys and values, and what follows them.  `cpb_mlp` of Swin v2 makes biases of places."""

LORA = r"/lora_[ab]$"
"""Found in the paths of the parameters that `lora` adds."""


def lora(
    model: Model, *, rank: int = 8, alpha: float | None = None, pattern: str = ATTENTION
) -> Model:
    """The model with a change of low rank to the kernels with `pattern` in their path.

    Such a kernel W [C,D] acts as W + (α/r)·A·B and gets no gradient itself.  A [C,r] is
    drawn, with the deviation 1/√C, and B [r,D] is zero at first, so that outputs are
    those of the model.  They are parameters `lora_a` and `lora_b` beside `kernel`, and
    `merge_lora` makes plain variables of all, with the same outputs.  To train them
    alone, with a new head:

        models.frozen(models.lora(model), f"^(?!fc/|.*{models.LORA})")

    Args:
      rank: r, at least 1.
      alpha: α; None: r, for a factor of 1.
      pattern: by default that of attention.

    `init` raises `UsageError` unless a kernel of two axes has the pattern in its path.
    """
    alpha = rank if alpha is None else alpha
    check(
        (rank >= 1, f"rank must be at least 1, got {rank}"),
        (alpha > 0, f"alpha must be positive, got {alpha}"),
    )

    def init(key, *inputs):
        variables = model.init(key, *inputs)
        params = jax.tree.map(lambda leaf: leaf, variables["params"])
        kernels = list(_kernels(params, pattern))
        if not kernels:
            raise UsageError(
                f"LoRA finds no linear layer in whose path {pattern!r} is: a network "
                "without attention has none, so give another pattern, or train "
                "otherwise"
            )
        normal = jax.nn.initializers.lecun_normal()
        for number, layer in enumerate(kernels):
            (rows, columns), dtype = layer["kernel"].shape, layer["kernel"].dtype
            own = jax.random.fold_in(key, number)
            layer["lora_a"] = normal(own, (rows, rank), dtype)
            layer["lora_b"] = jnp.zeros((rank, columns), dtype)
        return {**variables, "params": params}

    def apply(variables, *inputs, **options):
        plain = _merged(variables, alpha, jax.lax.stop_gradient)
        return model.apply(plain, *inputs, **options)

    def rebuild(**options):
        assert model.rebuild is not None
        remade = model.rebuild(**options)
        return lora(remade, rank=rank, alpha=alpha, pattern=pattern)

    return model._replace(
        init=init, apply=apply, rebuild=None if model.rebuild is None else rebuild
    )


def merge_lora(variables: Variables, *, alpha: float | None = None) -> Variables:
    """The variables of the model that was given to `lora`, with the changes in its
    kernels: they predict the same, in no more time than before.

    `alpha` is that of `lora`.
    """
    return _merged(variables, alpha, lambda kernel: kernel)


def _merged(
    variables: Variables, alpha: float | None, of_kernel: Callable[[PyTree], PyTree]
) -> Variables:
    def merge(tree: Mapping[str, PyTree]) -> dict[str, PyTree]:
        merged: dict[str, PyTree] = {
            name: merge(value) if isinstance(value, Mapping) else value
            for name, value in tree.items()
        }
        if {"kernel", "lora_a", "lora_b"} <= merged.keys():
            a, b = merged.pop("lora_a"), merged.pop("lora_b")
            scale = 1 if alpha is None else alpha / a.shape[1]
            merged["kernel"] = of_kernel(merged["kernel"]) + scale * (a @ b)
        return merged

    return {**variables, "params": merge(variables["params"])}


def _kernels(
    tree: dict[str, Any], pattern: str, prefix: str = ""
) -> Iterator[dict[str, Any]]:
    """The layers with such a kernel, as the dicts of their parameters."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _kernels(value, pattern, f"{prefix}{name}/")
        elif name == "kernel" and value.ndim == 2 and re.search(pattern, prefix + name):
            yield tree
