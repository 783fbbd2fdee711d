"""Two-dimensional convolution as deep learning writes it: cross-correlation.

Shapes: B batch, H W height and width, C channels in, O channels out, K kernel size,
h w height and width of the output.

On accelerators `conv2d` is `jax.lax.conv_general_dilated` and nothing else.  On CPU
the forward pass is the same, except that a map smaller than the kernel is padded
first: XLA leaves its fast path there (3×3 of 512 to 512 channels on 64×2×2: 970 ms, or
11 when padded).  And its gradients are stated here, because XLA's are slow in three
ways:

- Inside `lax.scan` and `fori_loop` XLA does not bring them into the layout that its
  fast kernels want (https://github.com/jax-ml/jax/issues/12868): a 3×3 weight
  gradient of 16 to 16 channels at 128×32×32 takes 1330 ms there instead of 8.
- The weight gradient transposes both its operands, and XLA fuses the transpose with
  whatever computed them: much of a residual network is computed once more for every
  layer, in an order that misses the cache at every read.
- Transposed copies of a whole batch cost more than those of one slice at a time,
  presumably because they leave the cache.

So both gradients are convolutions in NHWC order, of operands that a barrier keeps
from being computed twice, and the weight gradient goes through the batch in slices.
For 1×1 kernels it is one dot.

Measured: time of ours ÷ XLA's own, both gradients, outside loops (jax 0.12, float32,
two busy cores; medians of alternating runs, CPU time for layers, wall time for steps):

    LeNet-5, batch 128        1→6 at 32×32   1.0    6→16 at 14×14      1.0
    ResNet-20, batch 128    16→16 at 32×32   1.0   16→32 stride 2      1.0
                            32→32 at 16×16   0.9   32→64 stride 2      1.1
                            64→64 at  8×8    1.0
    3×3, batch 128          32→64 at 28×28   0.6   64→64 at 14×14      0.9
    1×1, batch 32          64→256 at 56×56   0.2  256→1024 at 14×14    0.2
    ResNet-20 step                 one jit   0.7

and a step inside `lax.scan` over four takes 0.6 of XLA's in one jit, where XLA's own
takes 24 s.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.errors import UsageError, check
from jaxvision.types import Array

Pair = int | Sequence[int]
"""One number for both directions, or (vertical, horizontal)."""

Padding = str | int | Sequence[Sequence[int]]
"""`"SAME"` (outputs = ceil(size / stride)), `"VALID"` (none), a number of zeros for
all four sides, or ((top, bottom), (left, right))."""

Pads = tuple[tuple[int, int], tuple[int, int]]


class WindowError(UsageError):
    """A window is larger than the map that it should slide over."""


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

    On CPU the derivative of a plain convolution (one group, no dilation) is taken in
    reverse mode only, to any order: `jax.jvp` through it raises a `TypeError`.
    Inside `jax.shard_map` a kernel that all devices share must be told apart first,
    by `lax.pcast(kernel, axes, to="varying")`; under `jax.jit` nothing is needed.

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
    if jax.default_backend() == "cpu" and groups == 1 and dilation == (1, 1):
        return _conv2d_on_cpu(images_BxHxWxC, kernel_KxKxCxO, strides, pads)
    return _convolve(
        images_BxHxWxC,
        kernel_KxKxCxO,
        strides,
        pads,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )


_convolve = partial(
    lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv2d_on_cpu(
    x_BxHxWxC: Array, kernel_KxKxCxO: Array, strides: tuple[int, int], pads: Pads
) -> Array:
    return _convolve_on_cpu(x_BxHxWxC, kernel_KxKxCxO, strides, pads)


def _forward(x_BxHxWxC, kernel_KxKxCxO, strides, pads):
    y_BxhxwxO = _conv2d_on_cpu(x_BxHxWxC, kernel_KxKxCxO, strides, pads)
    return y_BxhxwxO, (x_BxHxWxC, kernel_KxKxCxO)


def _backward(strides, pads, residuals, dy_BxhxwxO):
    x_BxHxWxC, kernel_KxKxCxO = residuals
    # Without the barrier XLA computes x and dy anew inside each of their consumers.
    x_BxHxWxC, dy_BxhxwxO = lax.optimization_barrier((x_BxHxWxC, dy_BxhxwxO))
    size, reach = x_BxHxWxC.shape[1:3], kernel_KxKxCxO.shape[:2]
    return (
        _input_gradient(dy_BxhxwxO, kernel_KxKxCxO, size, strides, pads),
        _weight_gradient(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads),
    )


_conv2d_on_cpu.defvjp(_forward, _backward)


def _input_gradient(dy_BxhxwxO, kernel_KxKxCxO, size, strides, pads):
    """Spread dy over the positions it came from and convolve with the mirrored kernel.

    Its output must be as large as the images, which decides the padding at the end.
    """
    reach, outputs = kernel_KxKxCxO.shape[:2], dy_BxhxwxO.shape[1:3]
    back = tuple(
        (k - 1 - low, n + low - (o - 1) * s - 1)
        for n, k, o, s, (low, _) in zip(
            size, reach, outputs, strides, pads, strict=True
        )
    )
    mirrored_KxKxOxC = lax.rev(kernel_KxKxCxO, (0, 1)).swapaxes(2, 3)
    # The barrier keeps XLA from folding the mirror into a slower kind of convolution.
    mirrored_KxKxOxC = lax.optimization_barrier(mirrored_KxKxOxC)
    return _convolve_on_cpu(dy_BxhxwxO, mirrored_KxKxOxC, (1, 1), back, spread=strides)


def _convolve_on_cpu(x_BxHxWxC, kernel_KxKxCxO, strides, pads, spread=(1, 1)):
    """`_convolve` of x with its pixels `spread` apart, fast for tiny maps as well."""
    size, reach = x_BxHxWxC.shape[1:3], kernel_KxKxCxO.shape[:2]
    if all(n >= k for n, k in zip(size, reach, strict=True)):
        return _convolve(x_BxHxWxC, kernel_KxKxCxO, strides, pads, lhs_dilation=spread)
    (top, bottom), (left, right) = pads
    edges = ((0, 0, 0), (top, bottom, spread[0] - 1), (left, right, spread[1] - 1))
    zero = jnp.zeros((), x_BxHxWxC.dtype)
    padded = lax.pad(x_BxHxWxC, zero, (*edges, (0, 0, 0)))
    # The barrier keeps XLA from folding the padding back into the convolution.
    padded = lax.optimization_barrier(padded)
    return _convolve(padded, kernel_KxKxCxO, strides, ((0, 0), (0, 0)))


def _weight_gradient(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads):
    """Convolve the images with dy as the kernel: channels as batch, batch as channels.

    Its output must be as large as the kernel, which decides the padding at the end.
    """
    if reach == (1, 1) and pads == ((0, 0), (0, 0)):
        seen_BxhxwxC = x_BxHxWxC[:, :: strides[0], :: strides[1]]
        return jnp.einsum("bhwc,bhwo->co", seen_BxhxwxC, dy_BxhxwxO)[None, None]

    size, outputs = x_BxHxWxC.shape[1:3], dy_BxhxwxO.shape[1:3]
    across = tuple(
        (low, k + (o - 1) * s - n - low)
        for n, k, o, s, (low, _) in zip(
            size, reach, outputs, strides, pads, strict=True
        )
    )

    def of_slice(x_BxHxWxC, dy_BxhxwxO):
        dkernel_CxKxKxO = _convolve(
            x_BxHxWxC.transpose(3, 1, 2, 0),
            dy_BxhxwxO.transpose(1, 2, 0, 3),
            (1, 1),
            across,
            rhs_dilation=strides,
        )
        return dkernel_CxKxKxO.transpose(1, 2, 0, 3)

    channels = max(x_BxHxWxC.shape[3], dy_BxhxwxO.shape[3])
    slices = _slices(x_BxHxWxC.shape[0], outputs, channels)
    if slices == 1:
        return of_slice(x_BxHxWxC, dy_BxhxwxO)

    # A slice takes every n-th image, so that a batch spread over devices stays there.
    operands = [a.reshape(-1, slices, *a.shape[1:]) for a in (x_BxHxWxC, dy_BxhxwxO)]

    def gradient(i):
        taken = [lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in operands]
        wide = jnp.promote_types(x_BxHxWxC.dtype, jnp.float32)
        return of_slice(*taken).astype(wide)

    total = lax.fori_loop(1, slices, lambda i, sum_: sum_ + gradient(i), gradient(0))
    return total.astype(x_BxHxWxC.dtype)


def _slices(batch: int, outputs: tuple[int, int], channels: int) -> int:
    """Into how many slices the weight gradient cuts a batch: eight if it divides.

    It must divide what each device holds.  Small maps and few channels gain nothing.
    """
    if math.prod(outputs) < 14 * 14 or channels <= 16:
        return 1
    share, rest = divmod(batch, jax.device_count())
    return math.gcd(8, batch if rest else share)


def pair(name: str, value: Pair) -> tuple[int, int]:
    """`2 -> (2, 2)` and `(2, 1) -> (2, 1)`, or a `UsageError` that says the name."""
    values = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) and v >= 1 for v in values):
        raise UsageError(
            f"{name} must be one positive integer or (vertical, horizontal), "
            f"got {value!r}"
        )
    return values


def resolve_padding(
    size: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> Pads:
    """Padding as ((top, bottom), (left, right)) for a window that slides over a map.

    Raises `UsageError` when the padding is none of the known kinds, and its kind
    `WindowError` when the window is larger than the padded map.
    """
    unknown = UsageError(
        'padding must be "SAME", "VALID", a number ≥ 0 or '
        f"((top, bottom), (left, right)), got {padding!r}"
    )
    match padding:
        case "SAME" | "VALID":
            (top, bottom), (left, right) = lax.padtype_to_pads(
                size, window, strides, padding
            )
        case int():
            top = bottom = left = right = padding
        case ((int(top), int(bottom)), (int(left), int(right))):
            pass
        case _:
            raise unknown
    if min(top, bottom, left, right) < 0:
        raise unknown
    height, width = size[0] + top + bottom, size[1] + left + right
    if height < window[0] or width < window[1]:
        raise WindowError(
            f"a window of {window[0]}×{window[1]} does not fit a map of "
            f"{size[0]}×{size[1]} that padding {padding!r} makes {height}×{width}: "
            "use a smaller window, larger images or more padding"
        )
    return (top, bottom), (left, right)
