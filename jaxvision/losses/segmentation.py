"""Losses of maps: the classes of all pixels of an image.

Each is a `MapLoss`, which returns a total and its weight: the loss is their quotient,
and the parts of an accumulated batch add up to the batch exactly, because the mean is
over units that no part cuts in two.  What the unit is, is said of each: a pixel, or an
image.  Losses of sets of pixels (Dice, Lovász) may also be taken of the whole batch, as
some packages do; then each part of an accumulated batch counts as a batch.

Shapes: B images of H×W pixels, C classes, P pixels of a unit.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.recipes import LOSSES

Array = jax.Array


class MapLoss(NamedTuple):
    """A loss of the scores of all pixels."""

    terms: Callable[..., tuple]
    """`(logits [B,H,W,C], labels int32 [B,H,W], counts bool [B,H,W]) -> (total,
    weight)`, as `types.Task.loss` returns them.  Where `counts` is False the label may
    be anything, and neither total nor weight depends on the pixel."""


PixelLoss = Callable[[Array, Array], Array]
"""Of scores and one-hot targets, both […,C], to […], as in `losses.classification`."""


def of_maps(loss: PixelLoss | MapLoss) -> MapLoss:
    """The mean of a loss of single pixels over those that count; or what is one."""
    if isinstance(loss, MapLoss):
        return loss

    def terms(logits, labels, counts):
        targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return _mean(loss(logits, targets), counts)

    return MapLoss(terms)


@LOSSES.recorded
def weighted_cross_entropy(class_weights: Sequence[float]) -> MapLoss:
    """`Σ_p w_y(p) · -log softmax(logits)_y(p) / Σ_p w_y(p)`; the unit is a pixel.

    The weights are such as `losses.median_frequency` makes them.  As PyTorch's
    `CrossEntropyLoss(weight=…)`, it is the weighted mean.
    """
    weights = _class_weights(class_weights)

    def terms(logits, labels, counts):
        _check_classes(weights, logits)
        return _weighted_mean(_log_loss(logits, labels), labels, counts, weights)

    return MapLoss(terms)


@LOSSES.recorded
def focal(gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> MapLoss:
    """`-(1 - p_y)^γ log p_y`, in which easy pixels count less; the unit is a pixel.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 4 and, with class weights,
    eq. 5, for the softmax of several classes.  The mean is over pixels, weighted where
    there are weights; with γ = 0 it is the cross-entropy.
    """
    check((gamma >= 0, f"gamma must not be negative, got {gamma}"))
    weights = None if class_weights is None else _class_weights(class_weights)

    def terms(logits, labels, counts):
        log_loss = _log_loss(logits, labels)
        losses = log_loss
        if gamma:
            # 1 - p with all its digits; not 0, where powers below 1 have no slope.
            wrong = jnp.maximum(-jnp.expm1(-log_loss), jnp.finfo(jnp.float32).tiny)
            losses = wrong**gamma * log_loss
        if weights is None:
            return _mean(losses, counts)
        _check_classes(weights, logits)
        return _weighted_mean(losses, labels, counts, weights)

    return MapLoss(terms)


@LOSSES.recorded
def ohem(
    threshold: float = 0.7,
    least: float = 0.0625,
    class_weights: Sequence[float] | None = None,
) -> MapLoss:
    """The mean cross-entropy of hard pixels alone; the unit is such a pixel.

    Shrivastava et al. 2016, https://arxiv.org/abs/1604.03540, mine hard examples; of
    pixels: Wu et al. 2016, https://arxiv.org/abs/1604.04339, section 3.  A pixel is
    hard if the probability of its class is below `threshold`, and so is, of each image,
    the share `least` of the pixels that count whose probability is lowest (with all
    that equal the last of them).  With a threshold of 0 only these are.  Hard pixels
    are chosen in each image by itself, so that parts of a batch choose as the batch;
    their number depends on the network, which accumulation (`--accumulate`) therefore
    computes once more.
    """
    check(
        (0 <= threshold <= 1, f"threshold must be in [0, 1], got {threshold}"),
        (0 < least <= 1, f"least must be a share of pixels in (0, 1], got {least}"),
    )
    weights = None if class_weights is None else _class_weights(class_weights)
    from_loss = -math.log(threshold) if threshold else math.inf

    def hard(losses, counts):
        """Of one image, both [P]."""
        ranked = jnp.sort(jnp.where(counts, losses, -jnp.inf), descending=True)
        number = jnp.sum(counts, dtype=jnp.float32)
        place = jnp.maximum(jnp.ceil(least * number).astype(jnp.int32) - 1, 0)
        return counts & ((losses >= ranked[place]) | (losses > from_loss))

    def terms(logits, labels, counts):
        losses = _log_loss(logits, labels)
        flat = (len(losses), -1)
        chosen = jax.vmap(hard)(
            jax.lax.stop_gradient(losses).reshape(flat), counts.reshape(flat)
        ).reshape(counts.shape)
        if weights is None:
            return _mean(losses, chosen)
        _check_classes(weights, logits)
        return _weighted_mean(losses, labels, chosen, weights)

    return MapLoss(terms)


@LOSSES.recorded
def dice(*, smooth: float = 1.0, per_image: bool = True) -> MapLoss:
    """One minus the Dice coefficient of probabilities, `(2 Σ pg + s) / (Σp + Σg + s)`
    with g = 1 where the pixel is of the class: the mean over the classes that the unit
    shows.

    Sudre et al. 2017, https://arxiv.org/abs/1707.03237, eq. 2; `smooth` is s, which
    keeps the gradient of classes of few pixels in bounds.

    The unit is an image, and the mean is over images with pixels that count.  Unless
    `per_image`, it is the batch.
    """
    check((smooth >= 0, f"smooth must not be negative, got {smooth}"))

    def of_unit(logits, labels, counts):
        found, true = _shares(logits, labels, counts)
        both = jnp.sum(found * true, axis=0)
        size = jnp.sum(found, axis=0) + jnp.sum(true, axis=0) + smooth
        # Without a smoothing there is nothing to divide by where nothing counts.
        loss = 1 - (2 * both + smooth) / jnp.where(size > 0, size, 1)
        return _mean_of_shown(loss, true)

    return _of_sets(of_unit, per_image)


@LOSSES.recorded
def lovasz_softmax(*, per_image: bool = True) -> MapLoss:
    """The convex closure of one minus the intersection over union, of the errors of the
    probabilities: the mean over the classes that the unit shows.

    Berman et al. 2018, https://arxiv.org/abs/1705.08790, eq. 9 and section 3.1.

    The unit is an image, and the mean is over images with pixels that count.  Unless
    `per_image`, it is the batch, as in the paper's section 3.2.
    """

    def of_unit(logits, labels, counts):
        found, true = _shares(logits, labels, counts)
        errors = jnp.abs(true - found)  # 0 where a pixel does not count
        weights = _lovasz_weights(
            jax.lax.stop_gradient(jnp.where(counts[:, None], errors, -1)), true
        )
        return _mean_of_shown(jnp.sum(errors * weights, axis=0), true)

    return _of_sets(of_unit, per_image)


@LOSSES.recorded
def weighted_sum(*terms: tuple[float, PixelLoss | MapLoss]) -> MapLoss:
    """`Σ_i w_i · loss_i` of pairs (w, loss), each the mean over its own units:

    weighted_sum((1.0, cross_entropy), (0.5, dice()))
    """
    check(
        (len(terms) > 0, "a sum of losses needs one or more pairs (weight, loss)"),
        *(
            (weight > 0, f"weights of losses must be positive, got {weight}")
            for weight, _ in terms
        ),
    )
    parts = {str(i): (w, of_maps(loss)) for i, (w, loss) in enumerate(terms)}

    def sums(logits, labels, counts):
        found = {
            name: (weight, *loss.terms(logits, labels, counts))
            for name, (weight, loss) in parts.items()
        }
        totals = {
            name: jax.tree.map(functools.partial(jnp.multiply, weight), total)
            for name, (weight, total, _) in found.items()
        }
        return totals, {name: count for name, (_, _, count) in found.items()}

    return MapLoss(sums)


def _log_loss(logits: Array, labels: Array) -> Array:
    """`-log softmax(logits)_label` [B,H,W], in float32; 0 for labels of no class."""
    logs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.sum(logs * jax.nn.one_hot(labels, logits.shape[-1]), axis=-1)


def _mean(losses: Array, counts: Array) -> tuple[Array, Array]:
    """Total and weight of the mean over the pixels that count."""
    # The number in floating point, since an epoch may have more than int32 can count.
    number = jnp.sum(counts, dtype=jnp.int32).astype(jnp.float32)
    return jnp.sum(jnp.where(counts, losses, 0)), number


def _weighted_mean(
    losses: Array, labels: Array, counts: Array, weights: np.ndarray
) -> tuple[Array, Array]:
    each = jnp.take(jnp.asarray(weights), labels, mode="fill", fill_value=0)
    each = jnp.where(counts, each, 0)
    return jnp.sum(losses * each), jnp.sum(each)


def _class_weights(class_weights: Sequence[float]) -> np.ndarray:
    weights = np.asarray(class_weights, np.float32)
    check(
        (
            weights.ndim == 1
            and bool(np.isfinite(weights).all() and (weights >= 0).all())
            and bool(weights.any()),
            "class weights must be numbers that are not negative, one for each class "
            f"and not all 0, got {class_weights}",
        )
    )
    return weights


def _check_classes(weights: np.ndarray, logits: Array) -> None:
    check(
        (
            len(weights) == logits.shape[-1],
            f"there are {len(weights)} class weights for {logits.shape[-1]} classes: "
            "give one for each",
        )
    )


def _shares(logits: Array, labels: Array, counts: Array) -> tuple[Array, Array]:
    """Probabilities and true classes of a unit, both float32 [P,C]; zeros for pixels
    that do not count."""
    found = jax.nn.softmax(logits.astype(jnp.float32))
    true = jax.nn.one_hot(labels, logits.shape[-1])
    known = counts[:, None]
    return jnp.where(known, found, 0), jnp.where(known, true, 0)


def _mean_of_shown(losses: Array, true: Array) -> Array:
    """The mean of [C] over the classes that a unit, [P,C], shows; 0 for none."""
    shown = jnp.any(true > 0, axis=0)
    number = jnp.maximum(jnp.sum(shown, dtype=jnp.float32), 1)
    return jnp.sum(jnp.where(shown, losses, 0)) / number


def _of_sets(of_unit: Callable[..., Array], per_image: bool) -> MapLoss:
    """The mean over units of `(logits [P,C], labels [P], counts [P]) -> loss`."""

    def terms(logits, labels, counts):
        units = len(logits) if per_image else 1
        scores = logits.reshape(units, -1, logits.shape[-1])
        true, which = labels.reshape(units, -1), counts.reshape(units, -1)
        losses = jax.vmap(of_unit)(scores, true, which)
        return _mean(losses, jnp.any(which, axis=1))

    return MapLoss(terms)


def _lovasz_weights(errors: Array, true: Array) -> Array:
    """What each error [P,C] counts for, by its rank among those of its class: by how
    much the intersection over union falls when its pixel joins the wrong ones."""
    order = jnp.argsort(errors, axis=0, descending=True)
    ranked = jnp.take_along_axis(true, order, axis=0)
    total = jnp.sum(true, axis=0, keepdims=True)
    left = total - jnp.cumsum(ranked, axis=0)
    union = total + jnp.cumsum(1 - ranked, axis=0)
    falls = jnp.diff(1 - left / union, axis=0, prepend=jnp.zeros_like(total))
    return jnp.take_along_axis(falls, jnp.argsort(order, axis=0), axis=0)
