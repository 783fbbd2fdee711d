"""Two-dimensional convolution as deep learning writes it: cross-correlation.

On accelerators `conv2d` is `jax.lax.conv_general_dilated` and nothing else.  On CPU it
chooses, by the shapes, among several exact forms of the convolution and its gradients:
`cpu.py` has the table.

Shapes, in all files here: B batch, H W height and width, C channels, O channels out,
K kernel size, h w height and width of the output, c channels in a group.
"""

import jax

from jaxvision.errors import check
from jaxvision.ops.convolution import cpu, plain
from jaxvision.ops.convolution.geometry import (
    Padding,
    Pads,
    Pair,
    WindowError,
    pair,
    resolve_padding,
)
from jaxvision.types import Array

__all__ = [
    "Padding",
    "Pads",
    "Pair",
    "WindowError",
    "conv2d",
    "pair",
    "resolve_padding",
]


def conv2d(
    images_BxHxWxC: Array,
    kernel_KxKxCxO: Array,
    *,
    strides: Pair = 1,
    padding: Padding = "SAME",
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Slide the kernel over the images: `y[i,j] = Σ x[s·i + u, s·j + v] · kernel[u,v]`.

    Returns [B,h,w,O] in the type of the images.  `dilation` spreads the kernel's
    taps that many pixels apart.  With `groups` the channels in and out fall into as
    many consecutive groups that do not see each other, and the kernel is
    [K,K,C/groups,O].  K may differ between height and width.

    On CPU the derivative is taken in reverse mode only, to any order: `jax.jvp` through
    it raises a `TypeError`.  Inside `jax.shard_map` a kernel that all devices share
    must be told apart first, by `lax.pcast(kernel, axes, to="varying")`; under
    `jax.jit` nothing is needed.

    Raises `UsageError` for shapes, types or options that do not fit together.
    """
    shapes = f"images {images_BxHxWxC.shape}, kernel {kernel_KxKxCxO.shape}"
    check(
        (images_BxHxWxC.ndim == 4, f"conv2d wants images as [B,H,W,C], got {shapes}"),
        (kernel_KxKxCxO.ndim == 4, f"conv2d wants a kernel [K,K,C,O], got {shapes}"),
    )
    strides, dilation = pair("strides", strides), pair("dilation", dilation)
    extent = tuple(
        (k - 1) * d + 1 for k, d in zip(kernel_KxKxCxO.shape, dilation, strict=False)
    )
    pads = resolve_padding(images_BxHxWxC.shape[1:3], extent, strides, padding)
    channels, (taken, made) = images_BxHxWxC.shape[3], kernel_KxKxCxO.shape[2:]
    check(
        (groups >= 1, f"groups must be positive, got {groups}"),
        (
            channels == taken * groups,
            f"the kernel takes {taken} channels × {groups} groups and the images have "
            f"{channels}: got {shapes}",
        ),
        (made % max(groups, 1) == 0, f"{made} channels out in {groups} groups"),
        (
            images_BxHxWxC.dtype == kernel_KxKxCxO.dtype,
            f"images are {images_BxHxWxC.dtype} and the kernel is "
            f"{kernel_KxKxCxO.dtype}: cast one with .astype",
        ),
    )
    # The backend at trace time, not `lax.platform_dependent`: that traces both ways
    # and leaves a `cond` around every convolution.  If the guess is wrong, because a
    # GPU process computes something on its CPU, only speed is lost.
    if jax.default_backend() == "cpu":
        geometry = cpu.Geometry(strides, pads, dilation, groups)
        return cpu.convolve(images_BxHxWxC, kernel_KxKxCxO, geometry)
    return plain.native(images_BxHxWxC, kernel_KxKxCxO, strides, pads, dilation, groups)
