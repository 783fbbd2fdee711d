"""Two-dimensional convolution as deep learning defines it: cross-correlation.

On accelerators `conv2d` is `jax.lax.conv_general_dilated` and nothing else.  On CPU it
chooses, by the shapes, among several exact forms of the convolution and of its two
gradients: `cpu/__init__.py` has the tables, and `cpu/` a file for each form.

Array names carry their axes.  In all files here: B batch, H W height and width of the
images, h w of the output, C channels in, O channels out, K kernel size, and c = C /
groups channels of a group.
"""

from jaxvision.errors import check
from jaxvision.ops import target
from jaxvision.ops.convolution import cpu, native
from jaxvision.ops.convolution.geometry import (
    Geometry,
    Padding,
    Pads,
    Pair,
    WindowError,
    pair,
    resolve_padding,
)
from jaxvision.types import Array

__all__ = [
    "Geometry",
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

    Returns [B,h,w,O] in the type of the images.  K may differ between height and width.

    Args:
      strides: pixels between neighbouring outputs, s above.
      padding: `"SAME"`, `"VALID"`, a number of zeros for all sides, or ((top, bottom),
        (left, right)).
      dilation: pixels between neighbouring taps of the kernel; 1: a dense kernel.
      groups: the channels in and out are divided into as many groups of consecutive
        channels, and an output sees the channels of its own group alone; the kernel is
        [K,K,C/groups,O].

    On CPU only reverse-mode derivatives exist, of any order: `jax.jvp` raises a
    `TypeError`.  Inside `jax.shard_map` a kernel that is replicated over the devices
    must be made device-varying first, by `lax.pcast(kernel, axes, to="varying")`; under
    `jax.jit` nothing is needed.

    Raises `UsageError` for shapes, types or options that do not fit together.
    """
    shapes = f"images {images_BxHxWxC.shape}, kernel {kernel_KxKxCxO.shape}"
    check(
        (images_BxHxWxC.ndim == 4, f"conv2d needs images [B,H,W,C], got {shapes}"),
        (kernel_KxKxCxO.ndim == 4, f"conv2d needs a kernel [K,K,C,O], got {shapes}"),
    )
    strides, dilation = pair("strides", strides), pair("dilation", dilation)
    extent = tuple(
        (k - 1) * d + 1 for k, d in zip(kernel_KxKxCxO.shape, dilation, strict=False)
    )
    pads = resolve_padding(images_BxHxWxC.shape[1:3], extent, strides, padding)
    channels = images_BxHxWxC.shape[3]
    in_channels, out_channels = kernel_KxKxCxO.shape[2:]
    check(
        (groups >= 1, f"groups must be positive, got {groups}"),
        (
            channels == in_channels * groups,
            f"the kernel takes {in_channels} channels × {groups} groups and the images "
            f"have {channels}: got {shapes}",
        ),
        (
            out_channels % max(groups, 1) == 0,
            f"groups must divide the {out_channels} output channels, got {groups}",
        ),
        (
            images_BxHxWxC.dtype == kernel_KxKxCxO.dtype,
            f"images are {images_BxHxWxC.dtype} and the kernel is "
            f"{kernel_KxKxCxO.dtype}: cast one with .astype",
        ),
    )
    geometry = Geometry(strides, pads, dilation, groups)
    form = cpu if target.is_cpu() else native
    return form.convolve(images_BxHxWxC, kernel_KxKxCxO, geometry)
