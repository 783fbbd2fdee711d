"""Convolution on CPU: several exact forms, and the tables that choose among them.

Of each table the first form that suits a convolution is taken.  `WHOLE` has the forms
that bring their gradients with them.  Its last, which suits all that is left, computes
the output, the gradient with respect to the images and that with respect to the kernel
each in a form of its own, from `OUTPUT`, `INPUT_GRADIENT` and `WEIGHT_GRADIENT`.

The choice depends on a `Case`: shapes, type, number of devices, and whether the program
may call oneDNN (`jaxvision.onednn`), all known when the program is traced.  The bounds
were measured on two idle cores of x86.  What a training step loses without a form is
measured by `benchmarks/forms.py`.

Every file here but `slices` has one form, as some of the functions

- `convolve(x_BxHxWxC, kernel_KxKxCxO, geometry) -> y_BxhxwxO`
- `input_gradient(dy_BxhxwxO, kernel_KxKxCxO, size, geometry) -> dx_BxHxWxC`
- `weight_gradient(x_BxHxWxC, dy_BxhxwxO, kernel_size, geometry) -> dkernel_KxKxCxO`
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.onednn import is_chosen
from jaxvision.ops.convolution.cpu import (
    blocks,
    onednn,
    packed,
    patches,
    plain,
    pointwise,
    shifted,
    taps,
    winograd,
)
from jaxvision.ops.convolution.geometry import NO_PADS, Geometry, Two
from jaxvision.types import Array


class Case(NamedTuple):
    """What the choice of a form depends on."""

    batch: int
    size: Two
    """Height and width of the images."""
    kernel_size: Two
    in_channels: int
    """Of one group."""
    out_channels: int
    geometry: Geometry
    dtype: jnp.dtype
    onednn: bool
    """Whether XLA may call oneDNN for this convolution."""

    @property
    def output_size(self) -> Two:
        return self.geometry.output_size(self.size, self.kernel_size)

    @property
    def grouped(self) -> bool:
        return self.geometry.groups > 1

    @property
    def strided(self) -> bool:
        return self.geometry.strides != (1, 1)

    @property
    def dilated(self) -> bool:
        return self.geometry.dilation != (1, 1)


class Form(NamedTuple):
    """A line of a table."""

    name: str
    suits: Callable[[Case], bool]
    function: Callable[..., Array]


def convolve(x_BxHxWxC: Array, kernel_KxKxcxO: Array, geometry: Geometry) -> Array:
    """The convolution, in the forms that the tables choose."""
    form = _first(WHOLE, _case(x_BxHxWxC.shape, kernel_KxKxcxO, geometry))
    return form(x_BxHxWxC, kernel_KxKxcxO, geometry)


def _first(table: tuple[Form, ...], case: Case) -> Callable[..., Array]:
    return next(form.function for form in table if form.suits(case))


def _case(images_shape, kernel, geometry) -> Case:
    batch, height, width, _ = images_shape
    rows, columns, in_channels, out_channels = kernel.shape
    # On several devices XLA lets every device compute groups of more than one channel
    # for the whole batch: https://github.com/openxla/xla/issues/47945
    stays_sharded = geometry.groups == 1 or in_channels == 1 or jax.device_count() == 1
    return Case(
        batch,
        (height, width),
        (rows, columns),
        in_channels,
        out_channels,
        geometry,
        kernel.dtype,
        onednn=stays_sharded and is_chosen(kernel.dtype),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _by_parts(x_BxHxWxC: Array, kernel_KxKxcxO: Array, geometry: Geometry) -> Array:
    """The output and each of the gradients in a form of its own."""
    form = _first(OUTPUT, _case(x_BxHxWxC.shape, kernel_KxKxcxO, geometry))
    return form(x_BxHxWxC, kernel_KxKxcxO, geometry)


def _forward(x_BxHxWxC, kernel_KxKxcxO, geometry):
    y_BxhxwxO = _by_parts(x_BxHxWxC, kernel_KxKxcxO, geometry)
    return y_BxhxwxO, (x_BxHxWxC, kernel_KxKxcxO)


def _backward(geometry, residuals, dy_BxhxwxO):
    x_BxHxWxC, kernel_KxKxcxO = residuals
    # XLA fuses what computes x and dy into each of their consumers, and so computes it
    # several times: once for either gradient, and for some forms once for each tap.
    # Behind the barrier both are computed once and written to memory.
    x_BxHxWxC, dy_BxhxwxO = lax.optimization_barrier((x_BxHxWxC, dy_BxhxwxO))
    case = _case(x_BxHxWxC.shape, kernel_KxKxcxO, geometry)
    by_images = _first(INPUT_GRADIENT, case)
    by_kernel = _first(WEIGHT_GRADIENT, case)
    return (
        by_images(dy_BxhxwxO, kernel_KxKxcxO, case.size, geometry),
        by_kernel(x_BxHxWxC, dy_BxhxwxO, case.kernel_size, geometry),
    )


_by_parts.defvjp(_forward, _backward)


def _of_seen_pixels(x_BxHxWxC, kernel_1x1xCxO, geometry):
    """A 1×1 convolution with strides, of the pixels that it sees."""
    rows, columns = geometry.strides
    dense = geometry._replace(strides=(1, 1))
    return _by_parts(x_BxHxWxC[:, ::rows, ::columns], kernel_1x1xCxO, dense)


def _sees_mostly_padding(case: Case) -> bool:
    if case.grouped:
        return False
    # On small maps a product for each tap costs little more than one for all of them.
    bound = 0.75 if math.prod(case.size) <= 36 else 0.5
    return taps.share_inside(case.size, case.kernel_size, case.geometry) < bound


def _of_single_pixels(case: Case) -> bool:
    return (
        case.kernel_size == (1, 1)
        and not case.grouped
        and case.geometry.pads == NO_PADS
    )


def _suits_winograd(case: Case) -> bool:
    height, width = case.output_size
    return (
        case.kernel_size == (3, 3)
        and not (case.grouped or case.strided or case.dilated)
        and case.dtype == jnp.float32
        and min(case.in_channels, case.out_channels) >= 256
        # With fewer tiles the transform of the kernel costs more than is saved.
        and min(height, width) >= 4
        and case.batch * height * width >= 512
    )


def _suits_patches(case: Case) -> bool:
    products = case.in_channels * case.out_channels * case.batch
    many = products * math.prod(case.output_size) >= 2**26
    return not case.onednn and case.in_channels >= 16 and (many or case.strided)


def _always(case: Case) -> bool:
    return True


WHOLE = (
    Form("taps", _sees_mostly_padding, taps.convolve),
    Form(
        "seen pixels",
        lambda case: _of_single_pixels(case) and case.onednn and case.strided,
        _of_seen_pixels,
    ),
    Form(
        "pointwise",
        lambda case: _of_single_pixels(case) and not case.onednn,
        pointwise.convolve,
    ),
    Form(
        "shifted",
        lambda case: case.grouped and not case.onednn and case.in_channels <= 4,
        shifted.differentiable,
    ),
    Form(
        "blocks",
        lambda case: case.grouped and not case.onednn,
        partial(blocks.convolve, convolve),
    ),
    Form("by parts", _always, _by_parts),
)

# Below, groups come with oneDNN alone.

OUTPUT = (
    Form(
        "winograd",
        lambda case: _suits_winograd(case) and not case.onednn,
        winograd.convolve,
    ),
    Form(
        "packed",
        lambda case: (
            not (case.onednn or case.strided or case.dilated)
            and case.in_channels <= 4
            and case.out_channels <= 16
        ),
        packed.convolve,
    ),
    Form("plain", _always, plain.convolve),
)

INPUT_GRADIENT = (
    Form("winograd", _suits_winograd, winograd.input_gradient),
    Form(
        "patches",
        lambda case: (
            not case.grouped
            and (case.strided or (case.in_channels < 16 and not case.onednn))
        ),
        patches.input_gradient,
    ),
    Form("plain", _always, plain.input_gradient),
)

WEIGHT_GRADIENT = (
    Form(
        "shifted",
        lambda case: case.grouped and case.in_channels == 1,
        shifted.weight_gradient,
    ),
    Form("onednn", lambda case: case.onednn, onednn.weight_gradient),
    Form("patches", _suits_patches, patches.weight_gradient),
    Form("plain", _always, plain.weight_gradient),
)
