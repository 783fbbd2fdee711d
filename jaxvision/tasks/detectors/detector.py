"""What surrounds the network of a detector, as a value made of pure functions.

The network says something of every anchor; where the anchors are, which object each of
them is to find, what it costs to be wrong and which boxes are found is here.  Nothing
here has parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.losses import sigmoid_focal
from jaxvision.ops import matching
from jaxvision.ops.boxes import Detections
from jaxvision.types import Array, Outputs

Size = tuple[int, int]
"""Height and width."""

Levels = Sequence[np.ndarray]
"""The references float32 [n,4] of each map, from fine to coarse, A altogether."""


class Objects(NamedTuple):
    """What there is in an image, in the pixels that the network sees."""

    boxes: Array
    """float32 [M,4]."""
    classes: Array
    """int32 [M]."""
    valid: Array
    """bool [M]: which of them are to be found, neither padding nor crowds."""


class Detector(NamedTuple):
    """A detector without its network.

    All but `anchors` are functions of one image, and `outputs` those of the network for
    it, without the axis of the batch.
    """

    maps: Sequence[str]
    """The network's outputs [B,h,w,…] on whose places anchors lie, from fine to coarse:
    their sizes are all that anchors depend on, besides that of the image."""
    anchors: Callable[[Size, Sequence[Size]], Levels]
    """`(size of the image, sizes of the maps) ->` constants."""
    match: Callable[[Outputs, Levels, Objects], Array]
    """`(outputs, levels, objects) -> int32 [A]`, see `ops.matching`."""
    losses: Callable[
        [Outputs, Levels, Objects, Array, Array],
        tuple[Mapping[str, Array], Array | Mapping[str, Array]],
    ]
    """`(outputs, levels, objects, matches, step) -> (totals by name, their weight)`:
    the loss of a batch is the sum of all totals by that of all weights, see
    `types.Task.loss`; totals with different weights have these by name.  Nothing
    depends on what objects that are not valid hold.  The step is that of the training,
    for losses that come and go with it."""
    decode: Callable[[Outputs, Levels, Array], Detections]
    """`(outputs, levels, frame) -> boxes in the frame`, a box [4]."""
    background: int = 0
    """Columns of `class_logits` beside those of the classes: 1 where to be nothing is a
    class as well."""
    close: float = 0.0
    """The IoU from which an anchor fits an object, for `fit_of_anchors`; 0: every one
    that is matched does."""
    scores: Callable[[Outputs], Array] | None = None
    """`outputs -> [A,K]`: how surely each anchor has found an object of each class, by
    the outputs that are `judged`, those of every anchor by themselves; None: objects
    are found otherwise, and cannot be explained by an anchor."""
    boxes: Callable[[Outputs, Array], Array] | None = None
    """`(outputs, references [A,4]) -> [A,4]`: where it is."""
    judged: Sequence[str] = ("class_logits",)
    """The outputs [B,A,…] that `scores` reads."""

    def levels(self, outputs: Outputs, image: Sequence[int]) -> Levels:
        """The anchors for the outputs of a network, with the axis of the batch.

        Raises `UsageError` for outputs of another network.
        """
        for name in (*self.maps, "class_logits", "box_codes"):
            if name not in outputs:
                raise unknown("output of the model", name, outputs)
        shapes = [outputs[name].shape for name in self.maps]
        maps = [(shape[1], shape[2]) for shape in shapes]
        levels = self.anchors((image[0], image[1]), maps)
        count, codes = sum(map(len, levels)), outputs["box_codes"].shape[1]
        check(
            (
                count == codes,
                f"the model has {codes} boxes for an image of {image[0]}×{image[1]}, "
                f"and there are {count} anchors: give the task the detector that "
                "belongs to the model, with as many anchors for each place",
            )
        )
        return levels


def joined(levels: Levels) -> Array:
    """The references of all maps, float32 [A,4]."""
    return jnp.asarray(np.concatenate(levels))


def boxes_to_find(objects: Objects, matches: Array, references: Array) -> Array:
    """The box of what each reference is to find, float32 [A,4].

    Where that is nothing the reference stands for it, so that codes and losses are
    finite; they are not to be added up there.
    """
    boxes = matching.gather(objects.boxes, matches)
    return jnp.where((matches >= 0)[:, None], boxes, references)


def focal_of_classes(
    logits: Array, objects: Objects, matches: Array, *, alpha: float, gamma: float
) -> Array:
    """The sum of `losses.sigmoid_focal` of `class_logits` [A,K], without references
    that are ignored."""
    classes = matching.gather(objects.classes, matches, -1)
    targets = jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype)
    focal = sigmoid_focal(logits, targets, alpha=alpha, gamma=gamma)
    return jnp.sum(jnp.where((matches != matching.IGNORED)[:, None], focal, 0))


def check_decoding(
    *, least_score: float, candidates: int, overlap: float, most: int
) -> None:
    """Raises `UsageError` for numbers by which no boxes can be chosen."""
    check(
        (
            0 <= least_score < 1,
            f"least_score must be from 0 to less than 1, got {least_score}",
        ),
        (candidates >= 1, f"candidates must be at least 1, got {candidates}"),
        (0 <= overlap <= 1, f"overlap must be an IoU from 0 to 1, got {overlap}"),
        (most >= 1, f"most must be at least 1, got {most}"),
    )
