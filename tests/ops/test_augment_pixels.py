"""Values of pixels against Pillow and OpenCV, on the same images.

Equal unless it says otherwise.  The images are those that are awkward: noise, a ramp,
one colour, few values, and colours without a channel.
"""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from jaxvision.ops import augment, resample
from jaxvision.ops.augment import blur, colour, tone, warping

HEIGHT, WIDTH = 40, 48  # enough pixels for steps of several in equalize
KEY = jax.random.key(0)

warp = jax.jit(resample.warp, static_argnames=("method", "fill"))
resize = jax.jit(
    lambda images, boxes, size, method: resample.crop_and_resize(
        images, boxes, size, method=method
    ),
    static_argnums=(2, 3),
)


def changed(transform, images):
    """By the whole transform."""
    return np.asarray(jax.jit(transform)(KEY, {"image": images})["image"])


def awkward():
    random = np.random.default_rng(0)
    shape = (HEIGHT, WIDTH, 3)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramp = np.stack([5 * x, 6 * y, 2 * (x + y)], -1)
    noise = random.integers(0, 256, shape)
    return np.stack(
        [
            noise,
            ramp,
            np.full(shape, 77),
            noise // 5 + 60,
            noise // 64 * 80,
            noise * [1, 0, 1],
            cv2.GaussianBlur(noise.astype(np.float32), (5, 5), 2),
        ]
    ).astype(np.uint8)


IMAGES = awkward()


def by_table(table):
    return lambda images, *strength: tone.look_up(images, table(images, *strength))


def enhanced(kind):
    return lambda image, factor: kind(image).enhance(factor)


OPERATIONS = {
    "brightness": (by_table(tone.brightness), enhanced(ImageEnhance.Brightness)),
    "contrast": (by_table(tone.contrast), enhanced(ImageEnhance.Contrast)),
    "color": (colour.saturate, enhanced(ImageEnhance.Color)),
    "sharpness": (blur.sharpen, enhanced(ImageEnhance.Sharpness)),
    "posterize": (by_table(tone.posterize), ImageOps.posterize),
    "solarize": (by_table(tone.solarize), ImageOps.solarize),
    "equalize": (by_table(tone.equalize), ImageOps.equalize),
    "autocontrast": (by_table(tone.autocontrast), ImageOps.autocontrast),
    "invert": (by_table(tone.invert), ImageOps.invert),
    "grey": (tone.grey, lambda image: np.asarray(image.convert("L"))[..., None]),
    "smooth": (blur.smooth, lambda image: image.filter(ImageFilter.SMOOTH)),
}
FRACTIONS = ("brightness", "contrast", "color", "sharpness", "autocontrast")
STRENGTHS = {
    **dict.fromkeys(
        ("brightness", "contrast", "color", "sharpness"),
        (0.0, 0.3, 0.7, 1.0, 1.37, 1.9, 3.0),
    ),
    "posterize": (1, 3, 4, 8),
    "solarize": (0, 1, 100, 128, 256),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_pillows(name):
    ours, pillows = OPERATIONS[name]
    ours = jax.jit(ours)
    for strength in STRENGTHS.get(name, [None]):
        arguments = [] if strength is None else [strength]
        many = [jnp.full(len(IMAGES), strength)] if arguments else []
        got = np.asarray(ours(IMAGES, *many)).astype(int)
        expected = [
            np.asarray(pillows(Image.fromarray(image), *arguments)) for image in IMAGES
        ]
        # Where fractions are dropped, floats may fall just short of a whole number.
        slack = 1 if name in FRACTIONS else 0
        np.testing.assert_allclose(got, np.stack(expected), atol=slack, rtol=0)
        assert (got == np.stack(expected)).mean() > 0.99


AFFINE = np.array([[0.9, 0.2, 1.3], [-0.15, 1.1, 2.2], [0, 0, 1]])
TILTED = np.array([[0.9, 0.2, 1.3], [-0.15, 1.1, 2.2], [0.002, -0.001, 1]])


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("matrix", [AFFINE, TILTED])
def test_warps_are_pillows(matrix, method):
    """Bilinear within 1, since Pillow drops fractions; nearest but for a few ties."""
    many = jnp.broadcast_to(jnp.asarray(matrix, jnp.float32), (len(IMAGES), 3, 3))
    got = warp(IMAGES, many, method=method, fill=128)
    kind, numbers = Image.Transform.AFFINE, matrix[:2].ravel()
    if matrix is TILTED:
        kind, numbers = Image.Transform.PERSPECTIVE, matrix.ravel()[:8]
    how = getattr(Image.Resampling, method.upper())
    for image, ours in zip(IMAGES, np.asarray(got).astype(int), strict=True):
        expected = Image.fromarray(image).transform(
            (WIDTH, HEIGHT), kind, tuple(numbers), how, fillcolor=(128, 128, 128)
        )
        far = np.abs(ours - np.asarray(expected)) > (method == "bilinear")
        assert far.mean() < 0.002


def test_warps_are_opencvs_inside():
    """Within 1/32 of the difference of neighbours: OpenCV has that many steps."""
    smooth = IMAGES[-1].astype(np.float32)
    many = jnp.asarray(TILTED[None], jnp.float32)
    got = warp(smooth[None], many, fill=-1)[0]
    # OpenCV's coordinates are those of pixel centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    expected = cv2.warpPerspective(
        smooth,
        np.linalg.inv(half) @ TILTED @ half,
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    inside = np.asarray(got) >= 0
    assert inside.mean() > 0.7
    np.testing.assert_allclose(np.asarray(got)[inside], expected[inside], atol=1.5)


def test_rotation_is_pillows():
    angle = 23.0
    matrix = jax.jit(warping.affine, static_argnums=0)(
        (HEIGHT, WIDTH),
        angle=jnp.full(len(IMAGES), -np.radians(angle)),  # Pillow's is anticlockwise
        translation=jnp.zeros((len(IMAGES), 2)),
        zoom=jnp.ones(len(IMAGES)),
        shear=jnp.zeros((len(IMAGES), 2)),
    )
    got = jax.jit(augment.warp)({"image": IMAGES}, matrix)["image"]
    for image, ours in zip(IMAGES, np.asarray(got).astype(int), strict=True):
        how = Image.Resampling.BILINEAR
        expected = np.asarray(Image.fromarray(image).rotate(angle, how))
        assert (np.abs(ours - expected) > 1).mean() < 0.002


@pytest.mark.parametrize("size", [(9, 13), (33, 30), (20, 24), (7, 41)])
@pytest.mark.parametrize("box", [(0, 0, WIDTH, HEIGHT), (5, 3, 18, 14)])
def test_crops_are_resized_as_pillow_does(size, box):
    """Bilinear within 1, since Pillow rounds twice; nearest equal, but for ties."""
    places = [
        low + (np.arange(count) + 0.5) * (high - low) / count
        for low, high, count in zip(box[1::-1], box[:1:-1], size, strict=True)
    ]
    clear = np.ix_(*(np.abs(axis - np.round(axis)) > 1e-6 for axis in places))
    boxes = jnp.array([box], jnp.float32)
    for method in ("bilinear", "nearest"):
        got = resize(IMAGES, boxes, size, method)
        how = getattr(Image.Resampling, method.upper())
        for image, ours in zip(IMAGES, np.asarray(got).astype(int), strict=True):
            expected = Image.fromarray(image).crop(box).resize(size[::-1], how)
            expected = np.asarray(expected).astype(int)
            if method == "nearest":
                np.testing.assert_array_equal(ours[clear], expected[clear])
            else:
                np.testing.assert_allclose(ours, expected, atol=1, rtol=0)


@pytest.mark.parametrize("sigma, kernel", [(0.4, 3), (1.0, 5), (2.0, 9)])
def test_blur_is_opencvs(sigma, kernel):
    """Within 2: OpenCV blurs bytes in fixed point; floats to rounding."""
    sigmas = jnp.full(len(IMAGES), sigma)
    border = cv2.BORDER_REFLECT_101
    for kind, slack in ((np.uint8, 2), (np.float32, 1e-3)):
        images = IMAGES.astype(kind)
        got = jax.jit(blur.blur, static_argnums=2)(images, sigmas, kernel)
        assert got.dtype == kind
        for image, ours in zip(images, np.asarray(got), strict=True):
            expected = cv2.GaussianBlur(image, (kernel,) * 2, sigma, borderType=border)
            np.testing.assert_allclose(
                ours.astype(float), expected.astype(float), atol=slack, rtol=0
            )


def test_hue_is_turned_as_in_opencvs_hsv():
    """Within 1, of rounding; saturation and value stay."""
    turn_hue = jax.jit(colour.turn_hue)
    for turn in (-0.2, 0.1, 1 / 3, 0.5):
        got = turn_hue(IMAGES, jnp.full(len(IMAGES), turn))
        for image, ours in zip(IMAGES, np.asarray(got).astype(int), strict=True):
            hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
            expected = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
            np.testing.assert_allclose(ours, expected, atol=1, rtol=0)


def test_jitter_without_strength_changes_nothing_and_grey_has_no_colour():
    still = augment.colour_jitter(0, 0, 0, 0, probability=1.0)
    np.testing.assert_array_equal(changed(still, IMAGES), IMAGES)
    grey = changed(augment.random_greyscale(1.0), IMAGES)
    assert (grey == grey[..., :1]).all()
    one = jnp.asarray(IMAGES[..., :1])
    jittered = changed(augment.colour_jitter(probability=1.0), one)
    assert jittered.shape == one.shape and (jittered != one).any()


def test_noise_has_its_deviation_in_bytes_and_floats():
    for kind in (jnp.uint8, jnp.float32):
        images = jnp.full((50, 16, 16, 3), 128, kind)
        noise = changed(augment.gaussian_noise((10, 10)), images)
        assert noise.dtype == kind
        np.testing.assert_allclose(np.std(np.asarray(noise, float)), 10, rtol=0.05)
        np.testing.assert_allclose(np.mean(np.asarray(noise, float)), 128, atol=0.3)


def test_cutout_covers_one_square_anywhere():
    images = jnp.ones((400, 10, 12, 2))
    covered = changed(augment.cutout(4), images) == 0
    assert (covered[..., 0] == covered[..., 1]).all()
    rows, columns = covered[..., 0].any(2), covered[..., 0].any(1)
    areas = covered[..., 0].sum((1, 2))
    np.testing.assert_array_equal(areas, rows.sum(1) * columns.sum(1))
    # Cut off at the border, and in the middle not.
    assert (rows.sum(1).max(), rows.sum(1).min()) == (4, 2)
    assert covered.any(0).all()
    expected = np.mean([min(r + 2, 10) - max(r - 2, 0) for r in range(10)])
    np.testing.assert_allclose(rows.sum(1).mean(), expected, rtol=0.05)


def test_erased_rectangles_are_within_their_ranges():
    images = jnp.ones((600, 40, 40, 1))
    erase = augment.random_erasing(0.5, area=(0.1, 0.2), ratio=(0.5, 2), value=0)
    covered = changed(erase, images)[..., 0] == 0
    height, width = covered.any(2).sum(1), covered.any(1).sum(1)
    hit = height > 0
    assert 250 < hit.sum() < 350
    np.testing.assert_array_equal(covered.sum((1, 2)), height * width)
    share = height[hit] * width[hit] / 1600
    assert 0.08 < share.min() < 0.12 and 0.18 < share.max() < 0.22
    ratio = height[hit] / width[hit]
    assert 0.45 < ratio.min() < 0.6 and 1.7 < ratio.max() < 2.2
    np.testing.assert_allclose(np.exp(np.log(ratio).mean()), 1, atol=0.05)


def test_erased_bytes_are_noise():
    images = jnp.full((4, 64, 64, 3), 7, jnp.uint8)
    erase = augment.random_erasing(1.0, area=(0.3, 0.4))
    noise = changed(erase, images)
    noise = noise[noise != 7].astype(float)
    np.testing.assert_allclose([noise.mean(), noise.std()], [127.5, 73.9], rtol=0.03)
