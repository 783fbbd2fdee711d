"""A classifier as the encoder of another network: its maps, and no more than they need.

    class Net(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            maps = encode("resnet50", images, (8, 16, 32), train=train)
            ...

Dense networks and detectors begin so.  The classifier becomes a submodule called
`backbone`, whose parameters have the paths that they have in the classifier, and whose
published weights fit therefore.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict, freeze
from jax.extend.core import Literal

from jaxvision.errors import UsageError, check, unknown
from jaxvision.layers.classifier import classify_pixels
from jaxvision.models import classifiers
from jaxvision.models.linen import check_options, from_linen
from jaxvision.models.pyramid import GROWTH, Level, pyramid, strides
from jaxvision.paths import path_name
from jaxvision.types import Array

BACKBONE = "backbone"
"""The name of the encoder in the paths of parameters."""

COMPLETE = ("resnet34", "mobilenet_v3_large", "efficientnet_b0")
"""Some encoders that have a map at each of the strides 2, 4, 8, 16 and 32."""

Encoder = str | Callable[..., nn.Module]
"""The name of a classifier of the zoo, or what makes a module of one's own, such as
`partial(MyNet, width=32)`: one that is called with `(images, train=…)` and returns
named activations in the order of their depth."""


class OnEncoder(nn.Module):
    """What all networks have in common whose encoder is chosen by its name."""

    encoder: Encoder = "resnet34"
    encoder_options: Mapping[str, Any] | None = None
    """Further fields of the encoder, such as `{"remat": True}`."""
    num_classes: int = 21
    """As many as Pascal VOC has, the background included."""
    dtype: Any = jnp.float32

    def _encode(
        self, images: Array, wanted: Sequence[int | str], *, train: bool, **options
    ) -> dict[str, Array]:
        """`encode` by the fields; `encoder_options` have precedence over `options`."""
        return encode(
            self.encoder,
            images,
            wanted,
            train=train,
            dtype=self.dtype,
            options={**options, **(self.encoder_options or {})},
        )

    def _strides(self, wanted: Sequence[int | str], **options) -> tuple[int, ...]:
        """Pixels of the image for one of each of the maps of `_encode`."""
        fields = freeze({**options, **(self.encoder_options or {})})
        return (*_plan(self.encoder, fields, tuple(wanted)).maps.values(),)

    def _classify(
        self, outputs: Mapping[str, Array], x: Array, images: Array, **options
    ) -> dict[str, Array]:
        """`layers.classify_pixels` by the fields, at the size of the images."""
        size = images.shape[1:3]
        return classify_pixels(
            outputs, x, self.num_classes, size, dtype=self.dtype, **options
        )


def encode(
    encoder: Encoder,
    images: Array,
    wanted: Sequence[int | str],
    *,
    train: bool,
    dtype: Any = jnp.float32,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Array]:
    """Maps of the images, by the names of the activations, in the order of `wanted`.

    Is called in the compact method of a module, and makes a submodule `backbone` of it.
    Layers that none of the maps depends on, such as the head, are left out: they
    compute nothing and have no parameters.

    Args:
      encoder: a classifier, by its name, or what makes a module.
      images: [B,H,W,C].
      wanted: strides, each for the deepest activation that has it, as in
        `models.levels`, or names of activations.
      options: fields of the encoder, such as `output_stride`.

    Raises `UsageError` for an unknown encoder, option or activation, for a stride that
    the encoder has not, and unless each map has a position for every `stride` pixels
    of the image, the last ones included.
    """
    fields: FrozenDict[str, Any] = freeze(dict(options or {}))
    plan = _plan(encoder, fields, tuple(wanted))
    build = _maker(encoder, fields)
    if "dtype" in _parameters(build):
        build = partial(build, dtype=dtype)
    module = build(name=BACKBONE)
    with nn.intercept_methods(_leaving_out(module, plan.unused)):
        outputs = module(images, train=train)
    height, width = images.shape[1:3]
    for name, stride in plan.maps.items():
        expected = -(-height // stride), -(-width // stride)
        rows, columns = outputs[name].shape[1:3]
        check(
            (
                (rows, columns) == expected,
                f"{_called(encoder)} makes maps of {rows}×{columns} at stride {stride} "
                f"from images of {height}×{width}, and not of "
                f"{expected[0]}×{expected[1]}: take images whose sides are multiples "
                f"of {max(plan.maps.values())}, or an encoder whose convolutions are "
                f"padded, such as {_listed(COMPLETE)}",
            )
        )
    return {name: outputs[name] for name in plan.maps}


def has_option(encoder: Encoder, option: str) -> bool:
    """Whether the encoder has a field of that name, such as `output_stride`."""
    return option in _parameters(_maker(encoder, {}))


def check_sides(images: Array, unit: int, network: nn.Module) -> None:
    """Raises `UsageError` unless the sides of the images are multiples of `unit`."""
    height, width = images.shape[1:3]
    check(
        (
            height % unit == width % unit == 0,
            f"{type(network).__name__} wants images whose sides are multiples of "
            f"{unit}, got {height}×{width}: crop, pad or resize them",
        )
    )


class _Plan(NamedTuple):
    """What of an encoder is computed."""

    maps: Mapping[str, int]
    """The strides of the wanted activations by their names."""
    unused: frozenset[tuple[str, ...]]
    """The paths, inside of the encoder, of modules that no wanted activation needs."""


@cache
def _plan(
    encoder: Encoder, options: Mapping[str, Any], wanted: tuple[int | str, ...]
) -> _Plan:
    module = _maker(encoder, options)(parent=None)
    side, _, channels = (
        classifiers.variant(encoder).input_shape
        if isinstance(encoder, str)
        else (224, 224, 3)
    )
    images = jax.ShapeDtypeStruct((1, side, side + GROWTH, channels), jnp.float32)
    model = from_linen(module)
    shapes: dict[str, tuple[int, ...]] = {}

    def activations(variables, images):
        outputs, _ = model.apply(variables, images)
        # What leaves a traced function is sorted by name.
        shapes.update((name, value.shape) for name, value in outputs.items())
        return dict(outputs)

    try:
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        program = jax.make_jaxpr(activations)(variables, images).jaxpr
    except UsageError as error:
        raise UsageError(
            f"{_called(encoder)} takes images of one size only and has no stages: "
            f"choose another encoder, such as {_listed(COMPLETE)}"
        ) from error
    names = _names(encoder, wanted, strides(shapes), pyramid(shapes))
    ends = dict(zip(sorted(shapes), program.outvars, strict=True))
    needed = _needed(program, {ends[name] for name in names})
    paths = [
        path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(variables)
    ]
    begins = zip(paths, program.invars, strict=False)  # images are the last
    used = [path.split("/")[1:-1] for path, begin in begins if begin in needed]
    return _Plan(names, _outside(variables["params"], used))


def _names(
    encoder: Encoder,
    wanted: tuple[int | str, ...],
    maps: Mapping[str, int],
    levels: Mapping[int, Level],
) -> dict[str, int]:
    """The wanted activations with their strides."""
    missing = [str(w) for w in wanted if isinstance(w, int) and w not in levels]
    if missing:
        has = f"maps at strides {', '.join(map(str, levels))}" if levels else "no maps"
        raise UsageError(
            f"{_called(encoder)} has {has}, and none at {', '.join(missing)}, which "
            f"this network needs: choose another encoder, such as {_listed(COMPLETE)}"
        )
    names = [levels[w].name if isinstance(w, int) else w for w in wanted]
    for name in names:
        if name not in maps:
            raise unknown(f"activation of {_called(encoder)}", name, maps)
    return {name: maps[name] for name in names}


def _needed(program: Any, ends: set[Any]) -> set[Any]:
    """The variables of a traced function that the given ones depend on."""
    needed = set(ends)
    for equation in reversed(program.eqns):
        if needed & set(equation.outvars):
            needed |= {v for v in equation.invars if not isinstance(v, Literal)}
    return needed


def _outside(
    params: Mapping[str, Any], used: Sequence[Sequence[str]]
) -> frozenset[tuple[str, ...]]:
    """The outermost modules none of whose parameters is among those in use."""
    beginnings = {tuple(path[:n]) for path in used for n in range(1 + len(path))}
    unused = set()

    def visit(tree: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for name, value in tree.items():
            if not isinstance(value, Mapping):
                continue
            if (*path, name) in beginnings:
                visit(value, (*path, name))
            else:
                unused.add((*path, name))

    visit(params, ())
    return frozenset(unused)


def _leaving_out(encoder: nn.Module, unused: frozenset[tuple[str, ...]]):
    """An interceptor by which modules of the encoder are not made, and give zeros."""
    depth = len(encoder.path)

    def call(method, args, kwargs, context):
        if context.method_name != "__call__":
            return method(*args, **kwargs)
        module = context.module
        if module.path[depth:] not in unused:
            return method(*args, **kwargs)
        twin, key = module.clone(parent=None), jax.random.key(0)
        keys = {"params": key, "dropout": key}
        shapes = jax.eval_shape(lambda: twin.init_with_output(keys, *args, **kwargs)[0])
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return call


def _maker(encoder: Encoder, options: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """What makes the encoder's module, without a head where it knows of classes."""
    build = classifiers.variant(encoder).build if isinstance(encoder, str) else encoder
    check_options(f"encoder {_called(encoder)}", build, options)
    classes = {"num_classes": 0} if "num_classes" in _parameters(build) else {}
    return partial(build, **{**classes, **options})


def _parameters(build: Callable[..., nn.Module]) -> Mapping[str, Any]:
    return inspect.signature(build).parameters


def _called(encoder: Encoder) -> str:
    if isinstance(encoder, str):
        return encoder
    return getattr(encoder, "func", encoder).__name__


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
