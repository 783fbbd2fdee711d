"""The convolution of XLA, in the layout that everything here uses."""

from jax import lax

from jaxvision.ops.convolution.geometry import Geometry
from jaxvision.types import Array


def convolve(x_BxHxWxC: Array, kernel_KxKxCxO: Array, geometry: Geometry) -> Array:
    """`jax.lax.conv_general_dilated` and nothing else.  Negative padding crops."""
    return lax.conv_general_dilated(
        x_BxHxWxC,
        kernel_KxKxCxO,
        geometry.strides,
        geometry.pads,
        rhs_dilation=geometry.dilation,
        feature_group_count=geometry.groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
