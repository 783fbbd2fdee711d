"""Strides that become dilations, so that maps stay large: the à trous algorithm.

Chen et al. 2018, https://arxiv.org/abs/1606.00915, section 3.1
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxvision.errors import check

OUTPUT_STRIDES = (8, 16, 32)


class Sampling(NamedTuple):
    """How a block samples its map."""

    strides: int = 1
    dilation: int = 1
    """Of convolutions up to the one that strides, or would have."""
    next_dilation: int = 1
    """Of convolutions after it."""


def dilate(
    strides: Sequence[int],
    output_stride: int,
    *,
    stem_stride: int,
    early: bool = False,
) -> list[Sampling]:
    """How blocks that follow a stem sample, where no map may exceed `output_stride`.

    A stride that would exceed it becomes 1, and dilates the convolutions after it by as
    much.  Every convolution then sees the pixels that it saw before, and each map holds
    the values of the strided network at every `stride`-th position, besides new ones
    between them.  With `early`, the convolution that loses its stride is dilated, too,
    and sees other pixels: so do torchvision's MobileNetV3 and the encoders of
    segmentation_models_pytorch.

    Raises `UsageError` unless `output_stride` is 8, 16 or 32.
    """
    check(
        (
            output_stride in OUTPUT_STRIDES,
            f"output_stride must be 8, 16 or 32, got {output_stride}",
        )
    )
    reached, dilation, blocks = stem_stride, 1, []
    for stride in strides:
        before = dilation
        if reached * stride > output_stride:
            dilation *= stride
            stride = 1
        reached *= stride
        blocks.append(Sampling(stride, dilation if early else before, dilation))
    return blocks
