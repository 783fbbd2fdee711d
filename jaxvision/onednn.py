"""Whether a program on CPU may call oneDNN, the library that PyTorch computes with.

XLA's wheels for x86 have it inside and leave it unused.  With it convolutions run up to
20 times as fast (`ops.convolution`), but XLA calls it by an experimental option, and

- gets some programs wrong: an activation that it joins to a convolution or a matrix
  product is then also what all others read who wanted what came before it, such as the
  gradient of `silu(conv(x))`.  These programs can be told by their text;
- cannot write such programs to the disk, so that each launch compiles its own.

So the option is given to one program at a time, by `jit`, and taken back from those
that would be wrong.
"""

import contextlib
import contextvars
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

OPTIONS = {
    "xla_cpu_experimental_onednn_custom_call": True,
    # Not convolutions: YNNPACK would take most of them first, at half the speed.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
}
"""Of the compiler, for `jax.jit`."""

# These are joined to what they activate although others read it too.
_JOINED = re.compile(r'"ops":\[[^\]]*"(SWISH|ELU|GELU_TANH|GELU_ERF)"')

_chosen = contextvars.ContextVar("onednn", default=False)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """`jax.jit` whose program may call oneDNN where that works."""
    return _Program(function, options) if works() else jax.jit(function, **options)


@functools.cache
def works() -> bool:
    """Whether XLA calls oneDNN here when it is given the options.

    It does not on other processors, and another version may not know the options.
    Nor does it where `XLA_FLAGS` says no, for programs that are kept on the disk.
    """
    refused = "--xla_cpu_experimental_onednn_custom_call=false"
    if jax.default_backend() != "cpu" or refused in os.environ.get("XLA_FLAGS", ""):
        return False
    images = jax.ShapeDtypeStruct((1, 8, 8, 16), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 16, 16), jnp.float32)

    def convolve(x, kernel):
        order = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=order
        )

    try:
        lowered = jax.jit(convolve, compiler_options=OPTIONS).lower(images, kernel)
        return "__onednn$convolution" in (lowered.compile().as_text() or "")
    except jax.errors.JaxRuntimeError:
        return False


@contextlib.contextmanager
def _choose() -> Iterator[None]:
    """While a program is traced that will be compiled with the options."""
    token = _chosen.set(True)
    try:
        yield
    finally:
        _chosen.reset(token)


def is_chosen(dtype: DTypeLike) -> bool:
    """Whether what is traced now may be written for oneDNN, in this type."""
    return _chosen.get() and jnp.dtype(dtype) in (jnp.float32, jnp.bfloat16)


class _Program:
    """With oneDNN, until a compiled program shows that XLA gets it wrong."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]):
        @functools.wraps(function)
        def traced(*arguments):
            with _choose():
                return function(*arguments)

        functools.update_wrapper(self, function)
        self._without = function, options
        self._jitted: Any = jax.jit(traced, compiler_options=OPTIONS, **options)
        self._checked: set[tuple] = set()

    def __call__(self, *arguments):
        leaves = jax.tree.leaves(arguments)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            # Options belong to the outermost program, which is another.
            return self._without[0](*arguments)
        shapes = tuple(getattr(leaf, "shape", None) for leaf in leaves)
        if shapes not in self._checked:
            # JAX keeps what it compiles here for the call that follows.
            if _JOINED.search(self.lower(*arguments).compile().as_text()):
                function, options = self._without
                self._jitted = jax.jit(function, **options)
            self._checked.add(shapes)
        return self._jitted(*arguments)

    def lower(self, *arguments):
        """The program as the compiler gets it, like that of `jax.jit`."""
        return self._jitted.lower(*arguments)
