"""Which machine the program that is being traced is for.

Convolution, pooling and the rectifier have forms for the CPU.  They are exact, and
chosen by shapes that are known and the number of devices, so that a program which is to
run elsewhere, for any number of images, must not contain them.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_portable = contextvars.ContextVar("portable", default=False)


def is_cpu() -> bool:
    """Whether the program that is being traced will run on the CPU of this process.

    By the default backend, not `lax.platform_dependent`, which traces both ways and
    leaves a `cond` around every operation.  Where the default backend is not the one
    that runs the program, such as for a CPU computation in a process that has a GPU,
    the result is the same and only speed is lost.
    """
    return jax.default_backend() == "cpu" and not _portable.get()


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Surrounds the tracing of a program that is to run anywhere: it has XLA's own
    operations alone."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)
