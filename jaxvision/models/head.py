"""The part of a classifier that belongs to its classes, and that others replace."""

from collections.abc import Collection, Mapping
from typing import Any

from jaxvision.models import shapes
from jaxvision.paths import named_leaves
from jaxvision.types import PyTree, Variables


def head(name: str, **options) -> tuple[str, ...]:
    """The paths of the parameters whose shapes depend on the number of classes.

        ("fc/bias", "fc/kernel")                                        resnet18

    Auxiliary classifiers count as well.  No model declares them: its shapes for one
    class and for two are compared.  `options` are those of `models.create`.
    """
    one, two = (_shapes(name, options | {"num_classes": n}) for n in (1, 2))
    return tuple(path for path in one if one[path] != two[path])


def without(variables: Variables, paths: Collection[str]) -> Variables:
    """The variables but for the parameters at these paths, such as those of `head`."""

    def kept(tree: Mapping[str, PyTree], prefix: str) -> dict[str, Any]:
        found = {}
        for name, value in tree.items():
            if isinstance(value, Mapping):
                if rest := kept(value, f"{prefix}{name}/"):
                    found[name] = rest
            elif f"{prefix}{name}" not in paths:
                found[name] = value
        return found

    return {**variables, "params": kept(variables["params"], "")}


def _shapes(name: str, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    params = shapes.variables(name, **options)["params"]
    return {path: leaf.shape for path, leaf in named_leaves(params).items()}
