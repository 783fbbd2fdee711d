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
from jaxvision.types import Array, Batch, Outputs

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
    crowd: Array | None = None
    """[M]: 1 for crowds; None: there are none."""
    instances: Array | None = None
    """uint8 [M,H,W]: the pixels of each, of the image that the batch annotates."""
    keypoints: Array | None = None
    """float32 [M,K,3], see `types.Batch`."""


class Regions(NamedTuple):
    """Boxes that a network looks into once more, in one image."""

    boxes: Array
    """float32 [R,4]."""
    matches: Array
    """int32 [R]: the object of each, see `ops.matching`; those that teach nothing, such
    as padding, are `IGNORED`.  Regions with an object are the first."""
    annotated: Array | None = None
    """The same boxes in the pixels of `Objects.instances`."""


class RegionHead(NamedTuple):
    """A head of the network that is called on regions, without its layers.

    `outputs` are those of the entry for one image.
    """

    entry: str
    """Of the model: it takes boxes [B,R,4] and then the maps of `Detector.maps`."""
    choose: Callable[[Array, Regions, Objects], Regions]
    """`(key, regions, objects) ->` those that the loss is of, from those of the head
    before; for the first one these are the proposals."""
    losses: Callable[[Outputs, Regions, Objects], tuple[Mapping[str, Array], Array]]
    """`(outputs, regions, objects) -> (totals by name, their weight)`, as in
    `Detector.losses`."""
    decode: Callable[[Outputs, Mapping[str, Array], Array], Mapping[str, Array]]
    """`(outputs, found, frame) ->` what is found: `boxes` [D,4], `scores` and `classes`
    [D] that take the place of those the entry was given, or more about these, such as
    `masks` or `keypoints` [D,…]."""
    reads: Sequence[str] = ()
    """Annotations beside boxes and classes."""
    of_classes: str | None = None
    """The output whose last axis has a column for each class; None: none has."""
    block: int = 0
    """Regions of an image that are asked about at a time, see `in_blocks`, where those
    that are there are the first and the others count nothing; 0: all at once."""
    taught: Callable[[Batch], np.ndarray] | None = None
    """`batch ->` bool [B,M], on the host: which objects have what it learns."""
    measured: str | None = None
    """How the names of its metrics begin, such as `mask` in `mask_ap`, which then is
    the headline; None: what it finds are boxes."""


class Detector(NamedTuple):
    """A detector without its network.

    All but `anchors` are functions of one image, and `outputs` those of the network for
    it, without the axis of the batch.  A detector of one stage is all but `heads`.  In
    one of two stages what is decoded are proposals, of one class, and the heads say of
    each in turn what it is.
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
    """Columns of class scores beside those of the classes: 1 where to be nothing is a
    class as well."""
    close: float = 0.0
    """The IoU from which an anchor fits an object, for `fit_of_anchors`; 0: every one
    that is matched does."""
    draw: Callable[[Array, Array], Array] | None = None
    """`(key, matches) -> matches` for the losses, where those that are not drawn are
    `IGNORED`; None: all teach."""
    heads: Sequence[RegionHead] = ()
    """What is asked about regions, in this order."""
    propose: Callable[[Outputs, Levels, Array], Detections] | None = None
    """Like `decode`: the boxes from which the regions of a training are chosen; None:
    those of `decode`."""
    given: str | None = None
    """An array of the batch that stands among the outputs, from which `decode` makes
    proposals, and there are no anchors; None: the network proposes."""
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
        said = () if self.given else ("class_logits", "box_codes")
        for name in (*self.maps, *said):
            if name not in outputs:
                raise unknown("output of the model", name, outputs)
        if self.given:
            return [np.zeros((0, 4), np.float32)]
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


def of_heads(heads: Sequence[RegionHead]) -> tuple[str, ...]:
    """All annotations that the heads read."""
    return tuple(dict.fromkeys(name for head in heads for name in head.reads))


REGION_BLOCK = 20
"""Regions of an image at a time, for heads that only look at objects: a hundred boxes
that are found are five blocks."""


def with_objects(regions: Regions, count: int) -> Regions:
    """The first `count` of the regions, without those that have no object."""
    matches = regions.matches[:count]
    matches = jnp.where(matches >= 0, matches, matching.IGNORED)
    return Regions(regions.boxes[:count], matches)


def of_class(values: Array, classes: Array) -> Array:
    """Of each of [R,K,…] that of its class [R]."""
    places = classes.reshape(-1, *(1,) * (values.ndim - 1))
    return jnp.take_along_axis(values, places, axis=1)[:, 0]


def without_crowds(matches: Array, references: Array, objects: Objects) -> Array:
    """The matches [N] of boxes [N,4], where background in a crowd is ignored."""
    if objects.crowd is None:
        return matches
    inside = matching.in_crowd(references, objects.boxes, objects.crowd)
    unclear = (matches == matching.BACKGROUND) & inside
    return jnp.where(unclear, matching.IGNORED, matches)


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
