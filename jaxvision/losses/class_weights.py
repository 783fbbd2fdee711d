"""How much each class counts, from how often it is there: numbers on the host.

`data.pixel_counts` and `data.label_counts` count a training split:

    weights = losses.median_frequency(*data.pixel_counts(train))
    task = tasks.segmentation(11, loss=losses.weighted_cross_entropy(weights))
"""

from collections.abc import Sequence

import numpy as np

from jaxvision.errors import check

Counts = Sequence[int] | np.ndarray


def median_frequency(pixels: Counts, around: Counts) -> tuple[float, ...]:
    """The median of the classes' frequencies over each of them.

    Eigen and Fergus 2015, https://arxiv.org/abs/1411.4734, section 6.3.3: the frequency
    of a class is the number of its `pixels` over that of all pixels of the images that
    show it, `around`.  A class without a pixel has the weight 0, and is not part of the
    median.
    """
    pixels, around = _counts(pixels, "pixels"), _counts(around, "around")
    shown = pixels > 0
    frequencies = pixels[shown] / around[shown]
    weights = np.zeros(len(pixels))
    weights[shown] = np.median(frequencies) / frequencies
    return tuple(weights.tolist())


def inverse_frequency(counts: Counts) -> tuple[float, ...]:
    """`Σ n / (K n_k)` of K classes with n_k pixels or examples: each class counts as
    much as any other, and the mean weight of a pixel is 1.  0 for a class without one.
    """
    numbers = _counts(counts, "counts")
    shown = numbers > 0
    weights = np.zeros(len(numbers))
    weights[shown] = numbers.sum() / (shown.sum() * numbers[shown])
    return tuple(weights.tolist())


def class_balanced(counts: Counts, beta: float = 0.999) -> tuple[float, ...]:
    """`(1 - β) / (1 - β^n_k)`, scaled to a mean of 1 over the classes: one over the
    effective number of examples.

    Cui et al. 2019, https://arxiv.org/abs/1901.05555, eq. 2.  0 for a class without an
    example.
    """
    check((0 <= beta < 1, f"beta must be in [0, 1), got {beta}"))
    numbers = _counts(counts, "counts")
    shown = numbers > 0
    weights = np.zeros(len(numbers))
    weights[shown] = (1 - beta) / (1 - beta ** numbers[shown])
    return tuple((weights * shown.sum() / weights.sum()).tolist())


def positive_weights(positives: Counts, known: Counts) -> tuple[float, ...]:
    """`(m_k - n_k) / n_k` of classes that n_k of m_k examples show: those that do then
    count as much as those that do not.  1 for a class that none or all show."""
    there = _counts(positives, "positives")
    absent = _counts(known, "known") - there
    both = (there > 0) & (absent > 0)
    weights = np.ones(len(there))
    weights[both] = absent[both] / there[both]
    return tuple(weights.tolist())


def _counts(counts: Counts, name: str) -> np.ndarray:
    numbers = np.asarray(counts, float)
    check(
        (
            numbers.ndim == 1 and bool((numbers >= 0).all() and numbers.any()),
            f"{name} must be a number for each class, not negative and not all 0, got "
            f"{counts}",
        )
    )
    return numbers
