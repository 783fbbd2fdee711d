"""Objects of one image pasted onto another."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError, check
from jaxvision.ops.augment import joining
from jaxvision.ops.augment.geometry import drop, visible_rule
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import in_order, within
from jaxvision.ops.masks import boxes_around

NAMES = ("image", "boxes", "classes", "crowd", "instances")


@with_recipe
def copy_paste(
    *,
    share: Any = 0.5,
    zoom: tuple[Any, Any] = (0.5, 1.5),
    probability: Any = 1.0,
    min_visible: float | None = 0.1,
    most: int | None = None,
) -> Transform:
    """Some objects of another image, zoomed and mirrored or not, over this one.

    Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3, without smoothing,
    which the paper finds to make no difference.  The pixels are those of `instances`,
    and the other image is the example before in the batch.  What is then hidden is cut
    off the masks of this image's objects, and their boxes are those of what is left.
    Crowds are not pasted.  Of the batch `image`, `boxes`, `classes`, `crowd` and
    `instances` are left, with 2·M objects: those of the image, and then those pasted.

    Args:
      share: of the objects that are pasted, each with this probability; may be traced.
      zoom: factors of size, uniform from the smallest to the largest.
      probability: with which an example is changed; may be traced.
      min_visible: share of its pixels that an object must keep when it is covered, and
        of its box when it leaves the image with the one it is zoomed with; None: those
        alone that vanish are dropped.
      most: objects that the result has at most; where there are more, the smallest are
        left out.  None: all.
    """
    check(
        within("share", share, 0, 1),
        in_order("zoom", zoom, 0.01, 100),
        within("probability", probability, 0, 1),
        *visible_rule(min_visible),
        (most is None or most >= 1, f"most must be at least 1 object, got {most}"),
    )

    def transform(key, batch):
        batch = joining.with_objects(batch, NAMES, "copy_paste")
        if "instances" not in batch:
            raise UsageError(
                "copy_paste takes the pixels of objects from instances, and this batch "
                f"has {', '.join(sorted(batch))} alone: take mosaic, which wants boxes"
            )
        moving, choice, happens = jax.random.split(key, 3)
        count, number = batch["classes"].shape
        least = 0 if min_visible is None else min_visible
        other = dict(joining.zoomed(moving, joining.before(batch, 1), zoom, least))
        pasted = jax.random.bernoulli(choice, share, (count, number))
        pasted &= jax.random.bernoulli(happens, probability, (count, 1))
        pasted &= jnp.any(other["instances"] > 0, axis=(2, 3))
        if "crowd" in other:
            pasted &= other["crowd"] == 0
        drop(other, pasted)

        over = jnp.any(other["instances"] > 0, axis=1)
        below = dict(batch)
        below["instances"] = jnp.where(over[:, None], 0, batch["instances"])
        before, after = (
            jnp.sum(masks["instances"] > 0, axis=(2, 3), dtype=jnp.float32)
            for masks in (batch, below)
        )
        tight = boxes_around(below["instances"]).astype(batch["boxes"].dtype)
        covered = after < before
        below["boxes"] = jnp.where(covered[..., None], tight, batch["boxes"])
        enough = (after > 0) & (after >= least * before)
        drop(below, (batch["classes"] >= 0) & (enough | ~covered))

        joined = {
            name: jnp.concatenate([array, other[name]], axis=1)
            for name, array in joining.objects(below).items()
        }
        image = jnp.where(over[..., None], other["image"], batch["image"])
        return joining.largest({"image": image, **joined}, most)

    return transform
