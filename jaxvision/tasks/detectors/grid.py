"""Anchors of several sizes and ratios at every place, and what each is to find."""

from collections.abc import Callable, Sequence

from jaxvision.errors import check
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.ops.boxes import anchors as anchor_ops
from jaxvision.tasks.detectors.detector import Levels, Objects, Size, joined
from jaxvision.types import Array, Outputs


def anchors_of_grid(
    sizes: Sequence[Sequence[float]], ratios: Sequence[float], *, scale: float
) -> Callable[[Size, Sequence[Size]], Levels]:
    """`Detector.anchors` of each size and ratio.

    sizes: of each map, the sides in pixels of anchors that are squares, by which
    `scale` is multiplied; ratios: height over width.

    Raises `UsageError` for a scale that is not positive.
    """
    check((scale > 0, f"scale must be positive, got {scale}"))

    def anchors(image: Size, maps: Sequence[Size]) -> Levels:
        scaled = [[scale * side for side in level] for level in sizes]
        return anchor_ops.anchors(image, maps, scaled, [ratios] * len(sizes))

    return anchors


def match_by_overlap(
    high: float, low: float
) -> Callable[[Outputs, Levels, Objects], Array]:
    """`Detector.match` by `matching.max_iou`, where no object goes without an anchor.

    Raises `UsageError` for thresholds in another order.
    """
    check(matching.thresholds_rule(low, high))

    def match(outputs: Outputs, levels: Levels, objects: Objects) -> Array:
        del outputs
        overlaps = box_ops.pairwise(box_ops.iou)(objects.boxes, joined(levels))
        return matching.max_iou(
            overlaps, objects.valid, high=high, low=low, low_quality=True
        )

    return match
