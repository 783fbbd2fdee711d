"""Learned augmentation policies: AutoAugment, RandAugment, TrivialAugment.

All draw for each image on its own, work on bytes of one or three channels, and move
masks, boxes and keypoints with the image.  Of the operations they share, see
`operations`.  Strengths grow from nothing: where the first implementations have one
that does not (brightness from 0.1 to 1.9, solarize from everything), it is the sign
that is drawn, or the range is turned round, as in torchvision and timm.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxvision.errors import check, unknown
from jaxvision.ops.augment import operations
from jaxvision.ops.augment.geometry import visible_rule
from jaxvision.ops.augment.operations import Drawn, Operation, Ranges
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import bytes_of, within
from jaxvision.ops.augment.sub_policies import POLICIES
from jaxvision.ops.resample import Method

Array = jax.Array

NARROW = Ranges(
    shear=0.3,
    translation=lambda side: 150 / 331 * side,
    degrees=30,
    enhancement=0.9,
    posterize=4,
)
"""Of AutoAugment, table 6, whose 150 pixels are of images of 331."""
WIDE = Ranges(
    shear=0.99,
    translation=lambda side: 32,
    degrees=135,
    enhancement=0.99,
    posterize=6,
)
"""Of TrivialAugment, table 2."""

WITHOUT_INVERT = [operation for operation in Operation if operation.name != "INVERT"]
"""The fourteen operations of RandAugment and TrivialAugment."""


@with_recipe
def rand_augment(
    num_ops: int = 2,
    magnitude: Any = 9.0,
    *,
    method: Method = "nearest",
    fill: float = 128,
    min_visible: float | None = 0.1,
) -> Transform:
    """`num_ops` operations drawn with replacement, all of one strength.

    Cubuk et al. 2020, https://arxiv.org/abs/1909.13719; 2 and 9 are what it found for
    ResNet-50 on ImageNet.

    Args:
      num_ops: N of the paper.
      magnitude: M in [0, 10], of which 10 is the end of the ranges; may be traced.
        torchvision counts to 30: its 9 is 3 here.  timm's `rand-m9-inc1` is 9.
      method, fill: of the warps; the published code takes the nearest pixel, and grey
        for what the image does not hold.
      min_visible: what becomes of objects that leave the image, see `geometry`.
    """
    check(
        (num_ops >= 1, f"num_ops must be at least 1, got {num_ops}"),
        within("magnitude", magnitude, 0, 10),
        *visible_rule(min_visible),
    )
    options: dict[str, Any] = dict(method=method, fill=fill, min_visible=min_visible)

    def transform(key, batch):
        count = len(bytes_of(batch, "rand_augment", (1, 3)))
        strength = jnp.full(count, jnp.asarray(magnitude) / 10, jnp.float32)
        for index in range(num_ops):
            which, sign = jax.random.uniform(jax.random.fold_in(key, index), (2, count))
            drawn = Drawn(_any_operation(which), strength, _sign(sign))
            batch = operations.apply(batch, drawn, NARROW, **options)
        return batch

    return transform


@with_recipe
def trivial_augment(
    *,
    method: Method = "nearest",
    fill: float = 128,
    min_visible: float | None = 0.1,
) -> Transform:
    """One operation, of a strength that is uniform in 31 steps: nothing to be tuned.

    Müller and Hutter 2021, https://arxiv.org/abs/2103.10158, in its wide space.  The
    options are those of `rand_augment`.
    """
    check(*visible_rule(min_visible))
    options: dict[str, Any] = dict(method=method, fill=fill, min_visible=min_visible)

    def transform(key, batch):
        count = len(bytes_of(batch, "trivial_augment", (1, 3)))
        which, level, sign = jax.random.uniform(key, (3, count))
        strength = jnp.floor(level * 31) / 30
        drawn = Drawn(_any_operation(which), strength, _sign(sign))
        return operations.apply(batch, drawn, WIDE, **options)

    return transform


@with_recipe
def auto_augment(
    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet",
    *,
    method: Method = "nearest",
    fill: float = 128,
    min_visible: float | None = 0.1,
) -> Transform:
    """One of 25 learned pairs of operations, each with its probability and strength.

    Cubuk et al. 2019, https://arxiv.org/abs/1805.09501, appendix.  `cifar10` serves
    CIFAR-100 as well.  The options are those of `rand_augment`.
    """
    if policy not in POLICIES:
        raise unknown("policy", policy, POLICIES)
    check(*visible_rule(min_visible))
    options: dict[str, Any] = dict(method=method, fill=fill, min_visible=min_visible)

    def transform(key, batch):
        count = len(bytes_of(batch, "auto_augment", (1, 3)))
        pairs = POLICIES[policy]
        draws = jax.random.uniform(key, (5, count))
        pair = jnp.floor(draws[0] * len(pairs)).astype(jnp.int32)
        for index in range(2):
            happens, sign = draws[1 + 2 * index : 3 + 2 * index]
            which, probability, level = (
                jnp.array([step[index][field] for step in pairs])[pair]
                for field in range(3)
            )
            drawn = Drawn(
                jnp.where(happens < probability, which, Operation.IDENTITY),
                level / 9,  # ten levels, the first of which does nothing
                _sign(sign),
            )
            batch = operations.apply(batch, drawn, NARROW, **options)
        return batch

    return transform


def _any_operation(draw: Array) -> Array:
    index = jnp.floor(draw * len(WITHOUT_INVERT)).astype(jnp.int32)
    return jnp.array(WITHOUT_INVERT)[index]


def _sign(draw: Array) -> Array:
    return jnp.where(draw < 0.5, 1.0, -1.0)
