"""Findings: images, copies and labels that deserve a second look."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvision.quality import copies
from jaxvision.quality.measures import Measures

COMMON = 0.1
"""A kind that holds for more than this share of the images is a property of the set,
such as white paper, and not a fault of single images: the report states the share, and
does not list the images."""

BLANK = 0.05
"""Brightness, in 0..1, between the darkest and the brightest percent of a blank image's
pixels, at most."""

BLURRED = 4.0
"""Robust standard deviations that a blurred image's log-sharpness lies below the median
of the set, at least."""


FALSE = 0.05
"""Share of right labels, as the models themselves expect it, among those that the list
leaves out, at most."""


class Kind(NamedTuple):
    """A kind of finding."""

    title: str
    meaning: str
    score: str
    """What the score of a finding is."""
    certain: bool
    """Whether its training images are left out by the list as it is written, if the
    finding is certain too; else they are suggestions."""


KINDS = {
    "damaged": Kind("Damaged", "The file cannot be decoded.", "none", True),
    "blank": Kind(
        "Blank", "All pixels have almost the same brightness.", "contrast", True
    ),
    "duplicate": Kind(
        "Duplicates",
        "The same pixels more than once. The list leaves out training images that are "
        "in another split, and all but the first of those that are in training only; "
        "if their labels differ, all.",
        "none",
        True,
    ),
    "near_duplicate": Kind(
        "Near-duplicates",
        "Almost the same picture: recompressed, brighter, noisy, moved by a fraction "
        "of a pixel. The list treats them as duplicates.",
        "correlation of the thumbnails",
        True,
    ),
    "label": Kind(
        "Labels",
        "Models that were not trained on the image predict another label. The list "
        "leaves out those that are too improbable for a right one.",
        "probability of the given label",
        True,
    ),
    "dark": Kind(
        "Dark", "99 % of the pixels are dark (cleanvision's rule).", "brightness", False
    ),
    "bright": Kind(
        "Bright", "95 % of the pixels are bright (cleanvision's).", "darkness", False
    ),
    "blurred": Kind(
        "Blurred",
        "Far less sharp than what is usual in this set.",
        "standard deviations from the median",
        False,
    ),
    "odd_size": Kind(
        "Odd size", "Far larger or smaller (cleanvision's).", "cleanvision's", False
    ),
    "odd_shape": Kind(
        "Odd shape",
        "Far from square (cleanvision's aspect ratio).",
        "shorter by longer side",
        False,
    ),
}
"""In the order of the report."""


class Example(NamedTuple):
    split: str
    """`"train"`, `"validation"` or `"test"`."""
    row: int

    def __str__(self) -> str:
        return f"{self.split} {self.row}"


class Finding(NamedTuple):
    """One image, or a group of copies."""

    kind: str
    examples: tuple[Example, ...]
    score: float
    """Of the kind's own scale; findings of a kind are sorted, the clearest first."""
    reason: str
    suggested: int | None = None
    """The label that the models predict."""
    certain: bool = True
    """False: a suggestion, whatever its kind."""


class Sheet(NamedTuple):
    """All splits of a set, one after the other."""

    sizes: Mapping[str, int]
    measures: Measures
    labels: np.ndarray
    """int [N]."""

    def example(self, i: int) -> Example:
        for split, size in self.sizes.items():
            if i < size:
                return Example(split, i)
            i -= size
        raise IndexError(i)

    def row(self, example: Example) -> int:
        """The inverse of `example`."""
        before = itertools.takewhile(lambda split: split != example.split, self.sizes)
        return sum(self.sizes[split] for split in before) + example.row


def find(
    sheet: Sheet, track: Callable = lambda work, count: work
) -> tuple[list[Finding], dict[str, float]]:
    """Odd images and copies, and the kinds that are common in this set.

    Returns the findings, by kind and score, and for each kind that is too common (see
    `COMMON`) the share of the images that it holds for.
    """
    flags = _flags(sheet.measures)
    shares = {kind: float(mask.mean()) for kind, (mask, *_) in flags.items()}
    common = {
        kind: share
        for kind, share in shares.items()
        if share > COMMON and kind not in ("damaged", "blank")
    }
    found = [
        Finding(kind, (sheet.example(int(i)),), float(score[i]), words(int(i)))
        for kind, (mask, score, words) in flags.items()
        if kind not in common
        for i in np.flatnonzero(mask)[np.argsort(score[mask], kind="stable")]
    ]
    usable = sheet.measures.readable & ~flags["blank"][0]
    return found + _copies(sheet, usable, track), common


def _flags(
    measures: Measures,
) -> dict[str, tuple[np.ndarray, np.ndarray, Callable[[int], str]]]:
    """For each kind bool [N], scores [N] (the lower, the clearer), and the reason."""
    readable = measures.readable
    contrast = measures.bright - measures.darkest
    blank = readable & (contrast <= BLANK)
    fine = readable & ~blank
    sharpness = np.where(fine, np.maximum(measures.sharpness, 1e-6), np.nan)
    blur = _robust_z(np.log(sharpness))
    nothing = np.zeros(len(readable))

    def size(i: int) -> str:
        return f"{measures.heights[i]}×{measures.widths[i]}"

    rules = _cleanvision(measures)
    return {
        "damaged": (~readable, nothing, lambda i: "cannot be decoded"),
        "blank": (blank, contrast, lambda i: f"contrast {contrast[i]:.3f}"),
        "dark": (
            fine & rules["dark"][0],
            rules["dark"][1],
            lambda i: f"99 % of the pixels below {measures.bright[i]:.2f}",
        ),
        "bright": (
            fine & rules["light"][0],
            rules["light"][1],
            lambda i: f"95 % of the pixels above {measures.dark[i]:.2f}",
        ),
        "blurred": (
            fine & (blur < -BLURRED),
            blur,
            lambda i: f"sharpness {blur[i]:.1f} standard deviations from the median",
        ),
        "odd_size": (readable & rules["odd_size"][0], rules["odd_size"][1], size),
        "odd_shape": (
            readable & rules["odd_aspect_ratio"][0],
            rules["odd_aspect_ratio"][1],
            size,
        ),
    }


def _cleanvision(measures: Measures) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each of its kinds bool [N] and its score [N], by its own thresholds."""
    import pandas as pd
    from cleanvision.issue_managers import image_property
    from cleanvision.issue_managers.image_property_issue_manager import (
        ImagePropertyIssueManager,
    )

    heights, widths = measures.heights, measures.widths
    readable = measures.readable
    sides = np.stack([heights, widths]).astype(float)
    with np.errstate(invalid="ignore"):
        ratio = sides.min(axis=0) / sides.max(axis=0)
    raw = pd.DataFrame(
        {
            "brightness_perc_5": measures.dark,
            "brightness_perc_99": measures.bright,
            "aspect_ratio": ratio,
            "size": np.sqrt(sides[0] * sides[1]),
        }
    )[readable]
    found = {}
    for name, measure in {
        "dark": image_property.BrightnessProperty("dark"),
        "light": image_property.BrightnessProperty("light"),
        "odd_aspect_ratio": image_property.AspectRatioProperty(),
        "odd_size": image_property.SizeProperty(),
    }.items():
        flags, scores = np.zeros(len(readable), bool), np.ones(len(readable))
        if readable.any():
            options = ImagePropertyIssueManager().get_default_params()[name]
            rated = measure.get_scores(raw, name, **options)
            marked = measure.mark_issue(rated, name, options.get("threshold"))
            flags[readable] = marked.to_numpy().ravel()
            scores[readable] = rated.to_numpy().ravel()
        found[name] = flags, scores
    return found


def _robust_z(values: np.ndarray) -> np.ndarray:
    """How many standard deviations from the median; by the quartiles, NaN left out."""
    if not np.isfinite(values).any():
        return np.zeros_like(values)
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    # Of a normal distribution the quartiles are 1.349 standard deviations apart.  A set
    # whose images are all alike must not make outliers of rounding errors.
    scale = max((high - low) / 1.349, 0.05)
    return np.nan_to_num((values - middle) / scale)


def _copies(sheet: Sheet, usable: np.ndarray, track: Callable) -> list[Finding]:
    """Groups of equal images, then groups of similar ones; blank images are neither."""
    digests = [
        digest if fine else b""
        for digest, fine in zip(sheet.measures.digests, usable.tolist(), strict=True)
    ]
    equal = copies.same(digests)
    found = [
        _copied(sheet, "duplicate", group, 1.0, "the same pixels") for group in equal
    ]
    # Of equal images one stands for all.
    once = usable & sheet.measures.thumbnails.any(axis=1)
    once[[i for group in equal for i in group[1:]]] = False
    rows = np.flatnonzero(once)
    pairs = copies.similar(sheet.measures.thumbnails[rows], track)
    groups = copies.groups(pairs)
    first = {i: group[0] for group in groups for i in group}
    weakest: dict[int, float] = {}
    for i, _, value in pairs:
        weakest[first[i]] = min(value, weakest.get(first[i], math.inf))
    for group in groups:
        score = weakest[group[0]]
        reason = f"thumbnails correlate to {score:.4f}"
        members = rows[group].tolist()
        found.append(_copied(sheet, "near_duplicate", members, score, reason))
    return sorted(found, key=lambda finding: (finding.kind, -finding.score))


def _copied(
    sheet: Sheet, kind: str, group: list[int], score: float, reason: str
) -> Finding:
    examples = tuple(sheet.example(i) for i in group)
    splits = dict.fromkeys(example.split for example in examples)
    if len(splits) > 1:
        reason += f", in {' and '.join(splits)}"
    if len(set(sheet.labels[group].tolist())) > 1:
        reason += ", with different labels"
    return Finding(kind, examples, score, reason)


class Judgement(NamedTuple):
    """How far the models can be trusted with the labels."""

    temperature: float
    """By which their logits are divided, so that probabilities are frequencies."""
    threshold: float
    """Labels whose probability is at most this are left out."""
    improbable: int
    """How many labels are."""
    expected: float
    """How many of them would be if all labels were right."""


def labels(
    given: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> tuple[list[Finding], Judgement]:
    """Training examples whose label is likely wrong, the least probable one first.

    Confident learning (Northcutt et al. 2021, https://doi.org/10.1613/jair.1.12125) as
    cleanlab has it, pruning by noise rate: it estimates how many labels of each class
    are wrong, and takes as many of those with the least probability.  A weak model
    finds hard examples so, too.  Certain are those that `judge` tells from them.

    given: int [N] in 0..K-1; probabilities: [N,K], each of a model that was trained
    without the example.
    """
    from cleanlab.filter import find_label_issues

    calibrated, judgement = judge(given, probabilities)
    order = find_label_issues(
        given,
        calibrated,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,  # others would be forked, which threads do not survive
    )
    best = calibrated.argmax(axis=1)
    return [
        Finding(
            "label",
            (Example("train", i),),
            float(calibrated[i, given[i]]),
            f"given {class_names[given[i]]} ({calibrated[i, given[i]]:.2g}), "
            f"looks like {class_names[best[i]]} ({calibrated[i, best[i]]:.3f})",
            int(best[i]),
            certain=bool(calibrated[i, given[i]] <= judgement.threshold),
        )
        for i in order.tolist()
    ], judgement


def judge(given: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, Judgement]:
    """The calibrated probabilities [N,K], and which labels are too improbable.

    The probabilities are calibrated by a temperature (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599) on the given labels.  They then tell how many
    right labels would have a probability of at most p: the sum of all, over examples
    and classes, that are.  The threshold is the highest p for which this is at most
    `FALSE` of the labels that are as improbable: the others are wrong.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(probabilities.astype(np.float64), 1e-12, 1.0))
    rows = np.arange(len(given))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[rows, given].mean())

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-3, 3)).x))
    calibrated = np.exp(log_softmax(logits / temperature, axis=1))
    every = np.sort(calibrated, axis=None)
    of_given = np.sort(calibrated[rows, given])
    up_to = np.searchsorted(every, of_given, side="right")
    expected = np.cumsum(every)[up_to - 1]
    observed = np.searchsorted(of_given, of_given, side="right")
    enough = np.flatnonzero(expected <= FALSE * observed)
    if not len(enough):
        return calibrated, Judgement(temperature, 0.0, 0, 0.0)
    last = enough[-1]
    return calibrated, Judgement(
        temperature, float(of_given[last]), int(observed[last]), float(expected[last])
    )


def left_out(finding: Finding, sheet: Sheet) -> list[Example]:
    """The training images of a finding that should not be trained on.

    One of the copies is kept: that of another split, or the first one.  Where their
    labels differ it is unknown which is right, and none is kept.
    """
    train = [example for example in finding.examples if example.split == "train"]
    if len(finding.examples) == 1 or len(train) < len(finding.examples):
        return train
    if len({int(sheet.labels[sheet.row(example)]) for example in train}) > 1:
        return train
    return train[1:]


def as_record(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "examples": [list(example) for example in finding.examples],
        "score": finding.score,
        "reason": finding.reason,
        "certain": finding.certain and KINDS[finding.kind].certain,
        **({} if finding.suggested is None else {"suggested": finding.suggested}),
    }
