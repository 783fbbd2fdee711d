"""Every model, for tests that are swept over them: the fastest in `make test`.

Of the others, one of each kind is slow, and the rest is exhaustive: `make test-all` has
all of them, and what CI runs has the first two.
"""

import functools
from collections.abc import Collection, Iterable, Mapping

import pytest

from jaxvision import models
from jaxvision.models.measures import recorded
from jaxvision.models.registry import VARIANTS

FASTEST = (
    "alexnet", "convnet", "lenet5", "mlp", "mobilenet_v3_small", "resnet18", "resnet20",
    "pspnet", "shufflenet_v2_x0_5", "squeezenet1_1", "unet_small", "vgg11",
    "vit_tiny_patch16_224",
)  # fmt: skip
"""Of most kinds of architecture one that is traced fast."""


def kind(name: str) -> tuple[str, ...]:
    """What tells the code of a model apart from that of others, but for numbers.

    Networks of one kind differ in depths, widths and sizes, and in their encoders,
    which have tests of their own.
    """
    build, told = VARIANTS[name].build, []
    while isinstance(build, functools.partial):
        told += [_told(value) for value in build.args]
        told += [
            f"{field}={_told(value)}"
            for field, value in build.keywords.items()
            if field != "encoder"
        ]
        build = build.func
    return (build.__qualname__, *sorted(told))


def _told(value: object) -> str:
    if isinstance(value, str | bool | type) or callable(value):
        return getattr(value, "__qualname__", repr(value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_told(one)}" for key, one in sorted(value.items()))
    if isinstance(value, tuple):
        return f"({','.join(sorted(set(map(_told, value))))})"
    return type(value).__name__


def one_of_each_kind(names: Iterable[str]) -> set[str]:
    """Of each kind the model with the fewest parameters."""
    costs, smallest = recorded(), {}
    for name in sorted(names, key=lambda name: costs[name].parameters):
        smallest.setdefault(kind(name), name)
    return set(smallest.values())


def marked(
    names: Iterable[str], fast: Collection[str], slow: Collection[str]
) -> list[object]:
    """The names in order as parameters of a test, each with its mark."""
    slowly = (pytest.mark.slow,)
    exhaustively = (*slowly, pytest.mark.exhaustive)
    return [
        pytest.param(
            name,
            marks=() if name in fast else slowly if name in slow else exhaustively,
        )
        for name in sorted(names)
    ]


EVERY_MODEL = marked(models.names(), FASTEST, ())
