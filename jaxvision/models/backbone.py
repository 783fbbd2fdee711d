"""A classifier's variables as those of the encoder of a larger network."""

from collections.abc import Mapping
from typing import Any

from jaxvision.errors import check
from jaxvision.models import shapes
from jaxvision.models.encoder import BACKBONE
from jaxvision.paths import named_leaves
from jaxvision.types import PyTree, Variables


def into_backbone(
    name: str,
    variables: Variables,
    input_shape: tuple[int, int, int] | None = None,
    **options,
) -> Variables:
    """The part of the variables of model `name` that is its encoder's.

    `variables` are those of the classifier that is its encoder.  What the encoder has
    not, such as the head, is left out.  `input_shape` (H, W, C) is by default that of
    the model's paper, and `options` are those of `models.create`.

    Raises `UsageError` unless each array of the encoder is given, in its shape.
    """
    whole = shapes.variables(name, input_shape, **options)
    wanted = {kind: tree[BACKBONE] for kind, tree in whole.items()}
    given = named_leaves(dict(variables))
    wrong = [
        path
        for path, leaf in named_leaves(wanted).items()
        if path not in given or given[path].shape != leaf.shape
    ]
    check(
        (
            not wrong,
            f"these variables are not those of the encoder of {name}, which has "
            f"another {', '.join(wrong[:3])}: give those of the classifier that is its "
            "encoder, made with the same options",
        )
    )
    return {
        kind: {BACKBONE: _as(tree, variables[kind])} for kind, tree in wanted.items()
    }


def _as(pattern: Mapping[str, PyTree], tree: Mapping[str, PyTree]) -> dict[str, Any]:
    """What of the tree the pattern has, too."""
    return {
        name: _as(value, tree[name]) if isinstance(value, Mapping) else tree[name]
        for name, value in pattern.items()
    }
