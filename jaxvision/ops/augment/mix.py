"""Two examples in one: mixup and CutMix, whose labels become `target`s.

Each example is mixed with the one before it in the batch, whose order is random in
training; on several devices only neighbours exchange an image.  `target` float32 [B,K]
is the class as a distribution, and `label` the class of the greater part.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError, check
from jaxvision.ops.augment.erase import rectangle
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import within
from jaxvision.types import Batch

Array = jax.Array


@with_recipe
def mixup(num_classes: int, alpha: Any = 0.2, *, probability: Any = 1.0) -> Transform:
    """`λ·x_i + (1-λ)·x_j` with λ ~ Beta(α, α), of images and labels alike.

    Zhang et al. 2018, https://arxiv.org/abs/1710.09412, which has α = 0.2 for ImageNet
    and 1 for CIFAR-10, and draws one λ for a batch; here each example has its own.

    Args:
      num_classes: K.
      alpha: positive; may be traced.
      probability: with which an example is mixed; may be traced.

    Images must be floats: it comes after `normalise`.
    """
    check(*_rules(num_classes, alpha, probability))

    def transform(key, batch):
        _check_labels_only(batch, "mixup")
        images = batch["image"]
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise UsageError(
                f"mixup averages floats, got {images.dtype}: put it after normalise"
            )
        draw, happens = jax.random.split(key)
        share = jax.random.beta(draw, alpha, alpha, (len(images),))
        happens = jax.random.bernoulli(happens, probability, share.shape)
        share = jnp.where(happens, share, 1.0)
        weight = share[:, None, None, None].astype(images.dtype)
        mixed = weight * images + (1 - weight) * _before(images)
        return _with_targets({**batch, "image": mixed}, share, num_classes)

    return transform


@with_recipe
def cutmix(num_classes: int, alpha: Any = 1.0, *, probability: Any = 1.0) -> Transform:
    """A rectangle of the other image, and its share of the area of the other label.

    Yun et al. 2019, https://arxiv.org/abs/1905.04899: the share is Beta(α, α) before
    the rectangle is cut off at the borders, its centre is anywhere.  The paper mixes
    always on ImageNet, and half of the time (`probability`) on CIFAR.

    The arguments are those of `mixup`; images may be bytes.
    """
    check(*_rules(num_classes, alpha, probability))

    def transform(key, batch):
        _check_labels_only(batch, "cutmix")
        images = batch["image"]
        count, height, width, _ = images.shape
        draw, place, happens = jax.random.split(key, 3)
        size = jnp.array([[height, width]])
        share = jax.random.beta(draw, alpha, alpha, (count, 1))
        happens = jax.random.bernoulli(happens, probability, (count, 1))
        half = jnp.sqrt(1 - share) * size.astype(jnp.float32) / 2
        half = jnp.where(happens, half, 0).astype(jnp.int32)
        centre = jax.random.randint(place, (count, 2), 0, size)
        first = jnp.maximum(centre - half, 0)
        end = jnp.minimum(centre + half, size)
        inside = rectangle((height, width), first, end)
        mixed = jnp.where(inside[..., None], _before(images), images)
        share = 1 - jnp.prod(end - first, axis=1) / (height * width)
        return _with_targets({**batch, "image": mixed}, share, num_classes)

    return transform


def _rules(num_classes: int, alpha: Any, probability: Any):
    return (
        (num_classes >= 2, f"num_classes must be at least 2, got {num_classes}"),
        within("alpha", alpha, 1e-3),
        within("probability", probability, 0, 1),
    )


def _check_labels_only(batch: Batch, transform: str) -> None:
    if "label" not in batch:
        raise UsageError(
            f"{transform} mixes the label of each example, and this batch has "
            f"{', '.join(sorted(batch))} alone: leave it out"
        )
    whole = {"presence", "segmentation", "boxes", "instances", "keypoints"} & set(batch)
    if whole:
        raise UsageError(
            f"{transform} mixes labels, and cannot mix "
            f"{', '.join(sorted(whole))}: leave it out, or them"
        )
    if "mask" in batch:
        raise UsageError(
            f"{transform} is for training, and this batch has a mask of padding, as in "
            "an evaluation: leave it out there"
        )


def _before(rows: Array) -> Array:
    return jnp.roll(rows, 1, axis=0)


def _with_targets(batch: dict[str, Array], share: Array, num_classes: int) -> Batch:
    """With targets of which `share` [B] is the example's own."""
    if "target" in batch:
        target = batch["target"]
        check(
            (
                target.shape[-1] == num_classes,
                f"num_classes is {num_classes}, and the batch has targets of "
                f"{target.shape[-1]} classes",
            )
        )
    else:
        target = jax.nn.one_hot(batch["label"], num_classes)
    weight = share[:, None]
    target = weight * target + (1 - weight) * _before(target)
    label = jnp.argmax(target, axis=-1).astype(batch["label"].dtype)
    return {**batch, "target": target, "label": label}
