"""Programs on CPU that may call oneDNN, the library that PyTorch computes with.

XLA's wheels for x86 contain oneDNN and do not use it by default.  With it convolutions
are up to 20 times as fast (`ops.convolution`).  But XLA calls it by an experimental
option of the compiler, with two faults:

- Some programs compute wrong values.  XLA fuses an activation into the convolution or
  matrix product before it, and then every other reader of that product gets the
  activated values as well.  The gradient of `silu(conv(x))`, which needs `conv(x)`
  itself, is an example.
- Such programs cannot be kept in the compilation cache on the disk, so that each launch
  compiles its own.

So the option is not set for the process but for single programs, by `jit`, which
compiles a program again without the option where it would compute wrong values.
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
"""Options of the compiler, for `jax.jit`."""

# A call of oneDNN in the text of a compiled program lists the operations fused into it,
# such as `"ops":["BIAS","SWISH"]`.  XLA fuses these activations even where something
# else reads the product as well.  Programs that have one are refused altogether: the
# text no longer tells who wanted the product.
_UNSAFE_FUSION = re.compile(r'"ops":\[[^\]]*"(SWISH|ELU|GELU_TANH|GELU_ERF)"')

_chosen = contextvars.ContextVar("onednn", default=False)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """`jax.jit` of a program that may call oneDNN; plain `jax.jit` where that fails.

    The program takes positional arguments.  Called while another program is traced, it
    is the function itself, since only the outermost program has compiler options.
    """
    return _Program(function, options) if works() else jax.jit(function, **options)


def compiled(program: Any, *arguments) -> Any:
    """The executable of what `jit` returned, for arguments of these shapes."""
    if isinstance(program, _Program):
        return program.compile(*arguments)
    return program.lower(*arguments).compile()


@functools.cache
def works() -> bool:
    """Whether XLA calls oneDNN here when it is given the options.

    It does not on other processors, and other versions may not know the options.  To
    keep compiled programs on the disk, a user refuses oneDNN with
    `XLA_FLAGS=--xla_cpu_experimental_onednn_custom_call=false`.
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
    """Surrounds the tracing of a program that will be compiled with the options."""
    token = _chosen.set(True)
    try:
        yield
    finally:
        _chosen.reset(token)


def is_chosen(dtype: DTypeLike) -> bool:
    """Whether the program being traced may call oneDNN for arrays of this type."""
    return _chosen.get() and jnp.dtype(dtype) in (jnp.float32, jnp.bfloat16)


class _Program:
    """A jitted function, with oneDNN until a compiled program has an unsafe fusion."""

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
            # Compiler options belong to the outermost program, which is another one.
            return self._without[0](*arguments)
        shapes = tuple(getattr(leaf, "shape", None) for leaf in leaves)
        if shapes not in self._checked:
            # Fusions depend on the shapes, so each new set of shapes is checked.  JAX
            # keeps what is compiled here for the call that follows.
            self.compile(*arguments)
            self._checked.add(shapes)
        return self._jitted(*arguments)

    def compile(self, *arguments):
        """The executable for arguments of these shapes."""
        compiled = self.lower(*arguments).compile()
        if not _UNSAFE_FUSION.search(compiled.as_text()):
            return compiled
        function, options = self._without
        self._jitted = jax.jit(function, **options)
        return self.lower(*arguments).compile()

    def lower(self, *arguments):
        """The lowered program, like that of `jax.jit(…).lower`."""
        return self._jitted.lower(*arguments)
