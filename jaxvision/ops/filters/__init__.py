"""Filters of image processing: pure functions of images [B,H,W,C], under jit and vmap.

- neighbourhoods: `box`, `disc`, `dilated`, `patches`, `kernel_bank`
- linear filters: `convolve` by a bank of kernels, `correlate` by one, `separable`
- edges: `sobel`, `scharr`, `prewitt`, `laplacian`, `magnitude`, `direction`, `canny`
- regions: `connected` with seeds, `components`, `boxes_around`
- smoothing: `mean`, `gaussian`, `median`, `bilateral`, `guided`

Images are bytes or floats.  What has a sign (convolutions, gradients) comes back in
float32 and cannot overflow; what smooths comes back as it came, bytes rounded to the
nearest.  `Border` says what lies around an image.  A pixel that is not a number makes
all results so whose windows hold it.  All have gradients but `canny` and
regions, which decide.

Whatever is no image with at least one pixel, a window of even size where there is no
middle, and a border that reflects more than there is raise `UsageError`.
"""

from jaxvision.ops.filters.bilateral import bilateral
from jaxvision.ops.filters.borders import Border
from jaxvision.ops.filters.canny import canny
from jaxvision.ops.filters.edges import (
    Gradient,
    direction,
    laplacian,
    magnitude,
    prewitt,
    scharr,
    sobel,
)
from jaxvision.ops.filters.guided import guided
from jaxvision.ops.filters.linear import convolve, correlate, mirrored, separable
from jaxvision.ops.filters.median import median
from jaxvision.ops.filters.neighbourhoods import (
    box,
    dilated,
    disc,
    kernel_bank,
    patches,
)
from jaxvision.ops.filters.regions import boxes_around, components, connected
from jaxvision.ops.filters.smoothing import gaussian, mean

__all__ = [
    "Border",
    "Gradient",
    "bilateral",
    "box",
    "boxes_around",
    "canny",
    "components",
    "connected",
    "convolve",
    "correlate",
    "dilated",
    "direction",
    "disc",
    "gaussian",
    "guided",
    "kernel_bank",
    "laplacian",
    "magnitude",
    "mean",
    "median",
    "mirrored",
    "patches",
    "prewitt",
    "scharr",
    "separable",
    "sobel",
]
