"""What of a network's outputs can be explained, for each kind of outputs.

One number is explained at a time: a class's score, its mean over a part of a map, or
the score of one object.  Which part that is is chosen once, of the whole image: as
pixels are covered or changed it stays, so that what changes is the score.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UsageError, check
from jaxvision.ops import boxes as box_ops
from jaxvision.tasks.detectors import Detector
from jaxvision.tasks.detectors.detector import joined
from jaxvision.types import Array, Explained, Outputs, Part

Size = Sequence[int]
"""Height and width."""


def scores_of_classes(share: Callable[[Array], Array]) -> Explained:
    """One of the `logits` [B,K], of the whole image: the highest, or that of `number`.

    share: `logits -> probabilities`, both [B,K].
    """

    def choose(outputs: Outputs, size: Size, number=None, pixel=None) -> Part:
        scores = _scores(outputs, 1, number)
        check(
            (
                pixel is None,
                "what this network says is of the whole image, and not of a pixel: "
                "leave the pixel out",
            )
        )
        k = int(scores.argmax()) if number is None else number
        return _part(k, np.ones(tuple(size), bool))

    def of(values: Array, part: Part) -> Array:
        return jnp.take(values, part.number, axis=-1)

    return Explained(
        choose,
        lambda outputs, part: of(outputs["logits"], part),
        lambda outputs, part: of(share(outputs["logits"]), part),
        lambda part, classes: str(classes[int(part.number)]),
    )


def scores_of_regions() -> Explained:
    """The mean of a class in `logits` [B,H,W,K] over the pixels that are given to it
    (Vinogradova et al. 2020, https://arxiv.org/abs/2002.11434), or its score at one
    pixel.

    Without a `number` it is the class at the pixel; without both the largest one that
    covers no more than half of the image, which is more than what lies behind all, or
    else the largest.  A class that no pixel is given to is explained by its mean over
    all.
    """

    def choose(outputs: Outputs, size: Size, number=None, pixel=None) -> Part:
        scores = _scores(outputs, 3, number)
        check(
            (
                scores.shape[:2] == tuple(size),
                f"the model's logits are {list(scores.shape)}, and the image has "
                f"{size[0]}×{size[1]} pixels: a score for each pixel is explained",
            )
        )
        classes = scores.argmax(-1)
        if pixel is not None:
            _check_inside(pixel, size)
            region = np.zeros(tuple(size), bool)
            region[pixel] = True
            k = int(classes[pixel]) if number is None else number
        else:
            counts = np.bincount(classes.ravel(), minlength=scores.shape[-1])
            few = np.where(2 * counts <= classes.size, counts, 0)
            largest = int((few if few.any() else counts).argmax())
            k = largest if number is None else number
            region = classes == k if counts[k] else np.ones(tuple(size), bool)
        return _part(k, region)

    def of(values: Array, part: Part) -> Array:
        inside = part.region.astype(values.dtype)[None]
        chosen = jnp.take(values, part.number, axis=-1)
        return (chosen * inside).sum((1, 2)) / inside.sum((1, 2))

    def words(part: Part, classes: Sequence[str]) -> str:
        name = classes[int(part.number)]
        rows, columns = np.nonzero(np.asarray(part.region))
        if len(rows) == 1:
            return f"{name}, at row {rows[0]}, column {columns[0]}"
        if len(rows) == part.region.size:
            return f"{name}, over the whole image"
        return f"{name}, over the {len(rows):,} pixels that are given to it"

    return Explained(
        choose,
        lambda outputs, part: of(outputs["logits"], part),
        lambda outputs, part: of(jax.nn.softmax(outputs["logits"]), part),
        words,
    )


def scores_of_objects(detector: Detector) -> Explained:
    """The score of one object, as the logarithm of its odds: the surest, or the surest
    of the class `number`, of those whose box covers the `pixel`.

    It is that of the anchor by which the object is found, so no part of a network that
    says something of other anchors matters.
    """

    def of(outputs: Outputs, part: Part) -> Array:
        assert detector.scores is not None
        # Of this anchor alone: the others' derivatives need not be finite.
        own = {
            name: jnp.take(outputs[name], part.place, axis=1)[:, None]
            for name in detector.judged
        }
        return jnp.take(jax.vmap(detector.scores)(own)[:, 0], part.number, axis=-1)

    def choose(outputs: Outputs, size: Size, number=None, pixel=None) -> Part:
        if detector.scores is None or detector.boxes is None:
            raise UsageError(
                "objects of this detector are not found by an anchor each, whose score "
                "could be explained: take a detector of one stage"
            )
        with_axis = {name: jnp.asarray(each)[None] for name, each in outputs.items()}
        levels = detector.levels(with_axis, size)
        scores = np.array(detector.scores(outputs))
        _check_number(number, scores.shape[-1])
        frame = jnp.float32([0, 0, size[1], size[0]])
        boxes = np.asarray(
            box_ops.clip_to(detector.boxes(outputs, joined(levels)), frame)
        )
        if pixel is not None:
            _check_inside(pixel, size)
            y, x = pixel[0] + 0.5, pixel[1] + 0.5
            left, top, right, bottom = boxes.T
            covering = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
            check(
                (
                    bool(covering.any()),
                    f"no box of the network covers row {pixel[0]}, column {pixel[1]}: "
                    "choose a pixel inside of an object",
                )
            )
            scores[~covering] = -1
        if number is not None:
            scores[:, np.arange(scores.shape[1]) != number] = -1
        place, k = np.unravel_index(int(scores.argmax()), scores.shape)
        left, top, right, bottom = boxes[place]
        rows, columns = (np.arange(side) + 0.5 for side in size)
        inside = ((rows >= top) & (rows <= bottom))[:, None] & (
            (columns >= left) & (columns <= right)
        )
        return _part(int(k), inside, int(place))

    def score(outputs: Outputs, part: Part) -> Array:
        p = jnp.clip(of(outputs, part), 1e-30, 1 - 2**-24)
        return jnp.log(p) - jnp.log1p(-p)

    def words(part: Part, classes: Sequence[str]) -> str:
        rows, columns = np.nonzero(np.asarray(part.region))
        name = classes[int(part.number)]
        if not len(rows):
            return name
        return (
            f"{name}, in rows {rows.min()} to {rows.max()} and columns {columns.min()} "
            f"to {columns.max()}"
        )

    return Explained(choose, score, of, words)


def _part(number: int, region: np.ndarray, place: int = 0) -> Part:
    return Part(jnp.int32(number), jnp.asarray(region), jnp.int32(place))


def _scores(outputs: Outputs, axes: int, number: int | None) -> np.ndarray:
    """The logits of one image, of so many axes."""
    if "logits" not in outputs:
        raise UsageError(
            f"the network has no logits, but {', '.join(outputs)}: its task has to say "
            "in `explained` which of these numbers can be explained"
        )
    scores = np.asarray(outputs["logits"], np.float32)
    kind = {1: "a score for each class", 3: "a score of each class for each pixel"}
    check(
        (
            scores.ndim == axes,
            f"the model's logits are {list(scores.shape)} for an image, and what is "
            f"explained is {kind[axes]}: give the task what `explained` is of",
        )
    )
    _check_number(number, scores.shape[-1])
    return scores


def _check_number(number: int | None, count: int) -> None:
    if number is not None and not 0 <= number < count:
        raise UsageError(f"class {number} is not among the {count} of the network")


def _check_inside(pixel: tuple[int, int], size: Size) -> None:
    inside = all(0 <= at < side for at, side in zip(pixel, size, strict=True))
    check(
        (
            inside,
            f"row {pixel[0]}, column {pixel[1]} is not in the image of "
            f"{size[0]}×{size[1]} pixels that the network is given",
        )
    )
