"""Filters against SciPy and OpenCV, and properties that hold for all images."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from jaxvision.errors import UsageError
from jaxvision.ops import filters
from jaxvision.ops.filters import edges

DRAW = np.random.default_rng(0)
BYTES = DRAW.integers(0, 256, (2, 21, 26, 3), np.uint8)
FLOATS = BYTES.astype(np.float32) / 255

SCIPY = {
    "zeros": dict(mode="constant"),
    "ones": dict(mode="constant", cval=1),
    0.25: dict(mode="constant", cval=0.25),
    "edge": dict(mode="nearest"),
    "reflect": dict(mode="mirror"),
    "symmetric": dict(mode="reflect"),
}
"""What SciPy calls our borders."""


def channels(reference, images):
    """A reference of one channel, of all of them."""
    return np.stack(
        [
            np.stack([reference(image[..., c]) for c in range(image.shape[-1])], -1)
            for image in images
        ]
    )


@pytest.mark.parametrize("border", SCIPY)
def test_correlation_with_any_border_is_that_of_scipy(border):
    kernel = DRAW.standard_normal((3, 5))
    got = filters.correlate(FLOATS, kernel, border=border)
    expected = channels(lambda x: ndimage.correlate(x, kernel, **SCIPY[border]), FLOATS)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    bank = jnp.tile(jnp.asarray(kernel, jnp.float32)[..., None, None], (1, 1, 1, 3))
    grouped = filters.convolve(FLOATS, bank, border=border, groups=3)
    np.testing.assert_allclose(grouped, expected, atol=1e-5)


def test_convolution_mirrors_the_kernel_and_correlation_does_not():
    kernel = DRAW.standard_normal((3, 3)).astype(np.float32)
    image = FLOATS[:1, :, :, :1]
    for given_kernel, reference in (
        (kernel, signal.correlate2d),
        (filters.mirrored(kernel), signal.convolve2d),
    ):
        bank = given_kernel[..., None, None]
        for border, mode in (("zeros", "same"), (None, "valid")):
            got = filters.convolve(image, bank, border=border)[0, ..., 0]
            expected = reference(image[0, ..., 0], kernel, mode)
            np.testing.assert_allclose(got, expected, atol=1e-5)


def test_strides_and_dilation_keep_pixels_of_the_whole_result():
    kernel = DRAW.standard_normal((3, 3))
    every = filters.correlate(FLOATS, kernel, dilation=2)
    some = filters.correlate(FLOATS, kernel, dilation=2, strides=(2, 3))
    np.testing.assert_allclose(some, every[:, ::2, ::3], atol=1e-6)
    wide = np.zeros((5, 5))
    wide[::2, ::2] = kernel
    np.testing.assert_allclose(every, filters.correlate(FLOATS, wide), atol=1e-5)
    bank = jnp.asarray(kernel, jnp.float32)[..., None, None]
    image = FLOATS[..., :1]
    some = filters.convolve(image, bank, strides=2, border="edge")
    every = filters.convolve(image, bank, border="edge")
    np.testing.assert_allclose(some, every[:, ::2, ::2], atol=1e-5)


def test_derivatives_are_those_of_scipy_and_opencv():
    for ours, theirs in (
        (filters.sobel, ndimage.sobel),
        (filters.prewitt, ndimage.prewitt),
    ):
        got = ours(FLOATS)
        for part, axis in ((got.x, 1), (got.y, 0)):
            expected = channels(lambda x: theirs(x, axis, mode="mirror"), FLOATS)  # noqa: B023
            np.testing.assert_allclose(part, expected, atol=1e-5)
    got = filters.scharr(BYTES)  # bytes, whose derivatives do not overflow
    for part, order in ((got.x, (1, 0)), (got.y, (0, 1))):
        expected = channels(lambda x: cv2.Scharr(x, cv2.CV_32F, *order), BYTES)  # noqa: B023
        np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(
        filters.laplacian(BYTES),
        channels(lambda x: cv2.Laplacian(x, cv2.CV_32F), BYTES),
    )
    for diagonals, kernel in ((False, edges.LAPLACIAN), (True, edges.LAPLACIAN_8)):
        assert kernel.sum() == 0
        flat = filters.laplacian(jnp.ones((1, 4, 4, 1)), diagonals=diagonals)
        np.testing.assert_array_equal(flat, np.zeros((1, 4, 4, 1)))


def test_separable_kernels_are_the_kernels_of_the_slides():
    for kernel, filtered in (
        (edges.SOBEL, filters.sobel),
        (edges.SCHARR, filters.scharr),
        (edges.PREWITT, filters.prewitt),
    ):
        gradient = filtered(BYTES)
        np.testing.assert_array_equal(gradient.x, filters.correlate(BYTES, kernel))
        np.testing.assert_array_equal(gradient.y, filters.correlate(BYTES, kernel.T))


def test_magnitude_and_direction_of_a_ramp():
    @jax.jit
    def gradients(image):
        gradient = filters.sobel(image)
        return filters.magnitude(gradient), filters.direction(gradient)

    rows, columns = np.indices((9, 9), np.float32)
    for angle in np.linspace(-np.pi, np.pi, 9)[1:]:
        ramp = np.cos(angle) * columns + np.sin(angle) * rows
        length, direction = gradients(ramp[None, ..., None].astype(np.float32))
        inner = np.s_[0, 1:-1, 1:-1, 0]
        np.testing.assert_allclose(length[inner], 8, rtol=1e-5)
        turn = np.exp(1j * (np.asarray(direction)[inner] - angle))
        np.testing.assert_allclose(turn, 1, atol=1e-5)
    flat = jax.jit(jax.grad(lambda x: gradients(x)[0].sum()))
    np.testing.assert_array_equal(flat(jnp.ones((1, 5, 5, 1))), np.zeros((1, 5, 5, 1)))


def test_smoothing_is_that_of_scipy_and_opencv():
    np.testing.assert_allclose(
        jax.jit(lambda x: filters.gaussian(x, 1.3))(FLOATS),
        channels(lambda x: ndimage.gaussian_filter(x, 1.3, mode="mirror"), FLOATS),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        jax.jit(lambda x: filters.mean(x, (3, 5)))(FLOATS),
        channels(lambda x: ndimage.uniform_filter(x, (3, 5), mode="mirror"), FLOATS),
        atol=1e-6,
    )
    blurred = jax.jit(lambda x: filters.gaussian(x, 1.0, radius=2))(BYTES)
    theirs = channels(lambda x: cv2.GaussianBlur(x, (5, 5), 1.0), BYTES)
    assert blurred.dtype == np.uint8  # OpenCV's weights of bytes have eight bits
    assert np.abs(np.int32(blurred) - np.int32(theirs)).max() <= 1


@pytest.mark.parametrize("window", [3, 5, (1, 3), 9])
def test_medians_are_those_of_scipy(window):
    got = jax.jit(lambda x: filters.median(x, window))(BYTES)
    expected = channels(
        lambda x: ndimage.median_filter(x, window, mode="mirror"), BYTES
    )
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


def test_bilateral_is_that_of_opencv():
    smooth = jax.jit(
        lambda x: filters.bilateral(x, 2, sigma_space=1.5, sigma_colour=0.2)
    )
    got = smooth(FLOATS)
    expected = channels(
        lambda x: cv2.bilateralFilter(
            x, 5, 0.2, 1.5, borderType=cv2.BORDER_REFLECT_101
        ),
        FLOATS,
    )
    assert got.shape == expected.shape
    grey = smooth(FLOATS[..., :1])
    np.testing.assert_allclose(grey, expected[..., :1], atol=1e-4)
    # Of colours the distance is that of all channels: less alike, so less is mixed.
    away = np.abs(got - FLOATS).mean()
    assert away < 0.7 * np.abs(expected - FLOATS).mean()


def test_guided_filter_is_the_linear_regression_of_each_window():
    radius, epsilon = 2, 0.01
    guide, image = FLOATS[0].astype(float), FLOATS[0, ..., :1].astype(float)
    height, width, _ = image.shape

    def around(i, j):
        rows = slice(max(i - radius, 0), i + radius + 1)
        return rows, slice(max(j - radius, 0), j + radius + 1)

    slopes = np.empty((height, width, 3))
    offsets = np.empty((height, width))
    for i, j in np.ndindex(height, width):
        g, x = guide[around(i, j)].reshape(-1, 3), image[around(i, j)].reshape(-1)
        covariance = (g * x[:, None]).mean(0) - g.mean(0) * x.mean()
        variance = g.T @ g / len(g) - np.outer(g.mean(0), g.mean(0))
        slopes[i, j] = np.linalg.solve(variance + epsilon * np.eye(3), covariance)
        offsets[i, j] = x.mean() - slopes[i, j] @ g.mean(0)
    expected = np.empty((height, width))
    for i, j in np.ndindex(height, width):
        slope = slopes[around(i, j)].mean((0, 1))
        expected[i, j] = slope @ guide[i, j] + offsets[around(i, j)].mean()
    smooth = jax.jit(filters.guided, static_argnames="radius")
    got = smooth(FLOATS[:1, ..., :1], FLOATS[:1], radius=radius, epsilon=epsilon)
    np.testing.assert_allclose(got[0, ..., 0], expected, atol=1e-5)
    # Each channel by itself as its own guide, where the guide has one channel.
    own = smooth(FLOATS[..., :1], radius=1, epsilon=1e-6)
    np.testing.assert_allclose(own, FLOATS[..., :1], atol=1e-2)


@pytest.mark.parametrize("low, high", [(100, 300), (0, 0), (50, 150)])
def test_canny_is_that_of_opencv(low, high):
    # A smooth image, so that lines are long enough to be followed.
    noise = np.random.default_rng(0).random((1, 60, 70, 1))  # float64, as NumPy has it
    smooth = np.asarray(filters.gaussian(noise, 1.5))
    image = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    expected = cv2.Canny(image[0, ..., 0], low, high, L2gradient=True) > 0
    lines = jax.jit(lambda x, low, high: filters.canny(x, low, high, sigma=None))
    got = np.asarray(lines(image, low, high))[0, ..., 0]
    np.testing.assert_array_equal(got, expected)
    assert 0 < got.sum() < got.size / 2


def test_hysteresis_follows_a_spiral_to_its_end():
    region = np.zeros((1, 15, 15, 1), bool)
    row, column, steps = 0, 0, 14
    for turn in range(12):
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(steps):
            region[0, row, column] = True
            row, column = row + down, column + right
        steps -= 2 if turn >= 2 and turn % 2 == 0 else 0
        steps = max(steps, 1)
    seeds = np.zeros_like(region)
    seeds[0, 0, 0] = True
    labels, _ = ndimage.label(region[0, ..., 0], np.ones((3, 3)))
    got = filters.connected(jnp.asarray(seeds), jnp.asarray(region))[0, ..., 0]
    np.testing.assert_array_equal(got, labels == labels[0, 0])
    assert got.sum() > 60


def test_components_and_their_boxes_are_those_of_scipy():
    masks = DRAW.random((3, 17, 23, 2)) < 0.4
    found = np.asarray(jax.jit(filters.components)(masks))
    boxes_around = jax.jit(filters.boxes_around)
    assert not found[~masks].any()
    for labels, mask in zip(
        found.transpose(0, 3, 1, 2).reshape(6, 17, 23),
        masks.transpose(0, 3, 1, 2).reshape(6, 17, 23),
        strict=True,
    ):
        expected, count = ndimage.label(mask, np.ones((3, 3)))
        pairs = set(zip(labels[mask].tolist(), expected[mask].tolist(), strict=True))
        assert len(pairs) == count == len(np.unique(labels[mask]))
        boxes = np.asarray(boxes_around(labels))
        for number, name in pairs:
            rows, columns = ndimage.find_objects(np.int32(expected == name))[0]
            box = columns.start, rows.start, columns.stop, rows.stop
            np.testing.assert_array_equal(boxes[number - 1], box)
        assert (boxes.any(axis=1)).sum() == count
    assert not filters.components(jnp.zeros((1, 4, 4, 1), bool)).any()


def test_adjacency_relations():
    np.testing.assert_array_equal(
        filters.disc(1), [[-1, 0], [0, -1], [0, 0], [0, 1], [1, 0]]
    )
    assert len(filters.disc(2**0.5)) == 9 and len(filters.disc(0)) == 1
    for radius in (2, 2.3, 5):
        square = np.indices((13, 13)).reshape(2, -1).T - 6
        inside = square[(square**2).sum(1) <= radius**2]
        np.testing.assert_array_equal(filters.disc(radius), inside)
    np.testing.assert_array_equal(
        filters.dilated(filters.box((1, 3)), (2, 4)), [[0, -4], [0, 0], [0, 4]]
    )


def test_kernels_over_any_adjacency_are_products_with_patches():
    adjacency = np.array([[0, 0], [-2, 1], [1, 3]])
    weights = DRAW.standard_normal((3, 3, 4)).astype(np.float32)
    bank = filters.kernel_bank(adjacency, weights)
    assert bank.shape == (5, 7, 3, 4)
    got = filters.convolve(FLOATS, bank, border="edge")
    around = filters.patches(FLOATS, adjacency, border="edge")
    assert around.shape == (2, 21, 26, 3, 3)
    expected = np.einsum("bhwac,aco->bhwo", around, weights)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_array_equal(
        filters.patches(BYTES, adjacency, border="reflect")[:, 2, 2, 1], BYTES[:, 0, 3]
    )


SMOOTHERS = {
    "mean": lambda x: filters.mean(x, 3),
    "gaussian": lambda x: filters.gaussian(x, 1.0),
    "median": lambda x: filters.median(x, 3),
    "bilateral": lambda x: filters.bilateral(x, 1, sigma_space=1.0, sigma_colour=0.3),
    "guided": lambda x: filters.guided(x, radius=1, epsilon=1e-2),
}
SMALL = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).random((1, 7, 6, 1), np.float32)
)


@pytest.mark.parametrize("name", SMOOTHERS)
def test_smoothing_keeps_range_level_and_symmetry(name):
    smooth = jax.jit(SMOOTHERS[name])

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(SMALL)
    def holds(images):
        got = np.asarray(smooth(images))
        if name != "guided":  # which extrapolates a little
            assert images.min() - 1e-6 <= got.min() <= got.max() <= images.max() + 1e-6
        close = dict(atol=2e-5)
        np.testing.assert_allclose(smooth(images + 1), got + 1, **close)
        np.testing.assert_allclose(smooth(images[:, ::-1]), got[:, ::-1], **close)

    holds()
    flat = jnp.full((1, 7, 6, 1), 0.37)
    np.testing.assert_allclose(smooth(flat), flat, atol=1e-6)


@pytest.mark.parametrize("name", [*SMOOTHERS, "sobel", "canny"])
def test_vmap_gradients_and_what_is_not_a_number(name):
    def sobel(x):
        return filters.sobel(x).x

    def canny(x):
        return filters.canny(x, 0.1, 0.4).astype(jnp.float32)

    function = jax.jit({**SMOOTHERS, "sobel": sobel, "canny": canny}[name])
    images = jnp.asarray(FLOATS[:, :7, :6, :1])
    together = function(images)
    each = jax.vmap(lambda image: function(image[None])[0])(images)
    np.testing.assert_allclose(each, together, atol=1e-5)
    if name == "canny":
        return
    broken = np.array(images)
    broken[0, 3, 3] = np.nan
    got = np.isnan(function(broken))
    assert got[0, 3, 4] and not got[1].any()
    weights = jnp.cos(jnp.arange(together.size, dtype=jnp.float32)).reshape(
        together.shape
    )

    @jax.jit
    def total(images):
        return (function(images) * weights).sum()

    slope = DRAW.standard_normal(images.shape).astype(np.float32)
    step = 1e-3
    measured = (total(images + step * slope) - total(images - step * slope)) / (
        2 * step
    )
    got = (jax.grad(total)(images) * slope).sum()
    np.testing.assert_allclose(got, measured, rtol=5e-2, atol=5e-3)


BAD = {
    "rank": (lambda: filters.mean(BYTES[0], 3), r"\[B,H,W,C\]"),
    "empty": (lambda: filters.median(BYTES[:, :0], 3), "at least one pixel"),
    "type": (lambda: filters.sobel(BYTES.astype(np.int32)), "uint8"),
    "even window": (lambda: filters.median(BYTES, (4, 3)), "odd"),
    "even kernel": (lambda: filters.correlate(BYTES, np.ones((2, 2))), "odd"),
    "even box": (lambda: filters.box(2), "odd"),
    "no kernel": (lambda: filters.correlate(BYTES, np.zeros((3, 3))), "zero"),
    "border": (lambda: filters.mean(BYTES, 3, border="reflected"), "did you mean"),
    "mirror": (lambda: filters.mean(BYTES, 51), "mirror"),
    "channels": (lambda: filters.convolve(BYTES, np.ones((3, 3, 2, 1))), "channels"),
    "bank": (lambda: filters.convolve(BYTES, np.ones((3, 3))), "bank"),
    "too large": (
        lambda: filters.convolve(BYTES, np.ones((31, 3, 3, 1)), border=None),
        "does not fit",
    ),
    "weights": (
        lambda: filters.kernel_bank(filters.disc(1), np.ones((4, 1, 1))),
        "weights",
    ),
    "twice": (
        lambda: filters.patches(BYTES, np.zeros((2, 2), int)),
        "twice",
    ),
    "no displacement": (lambda: filters.patches(BYTES, np.ones((0, 2), int)), "set"),
    "sigma": (lambda: filters.gaussian(BYTES, 0.0), "sigma"),
    "thresholds": (lambda: filters.canny(BYTES, 2, 1), "low"),
    "guide": (
        lambda: filters.guided(BYTES, BYTES[:, 1:], radius=1, epsilon=1.0),
        "one size",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_so(case):
    call, words = BAD[case]
    with pytest.raises(UsageError, match=words):
        call()


def test_kernels_larger_than_the_image_and_no_images_are_defined():
    tiny = jnp.ones((1, 2, 2, 1))
    np.testing.assert_allclose(filters.mean(tiny, 5, border="zeros"), 4 / 25 * tiny)
    np.testing.assert_allclose(filters.mean(tiny, 5, border="edge"), tiny, rtol=1e-6)
    assert filters.mean(BYTES[:0], 3).shape == (0, 21, 26, 3)
