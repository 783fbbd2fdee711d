"""The worked examples of five lectures, each under the name of its lecture and slide.

ELE510: UiS 2023, introduction to deep networks.  NTU: image processing with deep
learning.  MO434: UNICAMP, fundamentals.  RWTH: digital image processing 2023, lecture
3.  NSYSU: convolutional networks.  Where a slide is wrong, the test says what is right.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.models import measures
from jaxvision.ops import activation, arithmetic, augment, filters, pooling
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.convolution.matrix import convolution_matrix
from jaxvision.ops.filters import edges
from jaxvision.ops.receptive_field import receptive_fields
from jaxvision.ops.upsample import conv_transpose

DUMOULIN = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2],
            [2, 0, 0, 0, 1]]  # fmt: skip
"""The image of several slides, of https://arxiv.org/abs/1603.07285, figure 1.1."""
KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]


def image(rows):
    return jnp.asarray(rows, jnp.float32)[None, ..., None]


def slide_over(rows, kernel, border=None, strides=1):
    """The convolution of one channel, as rows of numbers."""
    bank = jnp.asarray(kernel, jnp.float32)[..., None, None]
    result = filters.convolve(image(rows), bank, border=border, strides=strides)
    return np.asarray(result)[0, ..., 0]


def test_ele510_convolution_vertical():
    """The slide shows five rows and six columns of the 7×7 that nine pixels make."""
    bright_left = np.repeat([10, 0], [4, 5])[None].repeat(9, 0)
    got = slide_over(bright_left, edges.VERTICAL)
    assert got.shape == (7, 7)
    np.testing.assert_array_equal(got[:5, :6], [[0, 0, 30, 30, 0, 0]] * 5)
    assert not got[:, 6].any()


def test_ele510_convolution_horizontal():
    rows = np.array([[10] * 4 + [0] * 5] * 4 + [[0] * 4 + [10] * 5] * 5)
    got = slide_over(rows, edges.HORIZONTAL)
    shown = [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [30, 30, 10, -10, -30, -30],
        [30, 30, 10, -10, -30, -30],
        [0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(got[:5, :6], shown)


def test_ele510_sobel_and_scharr_filters():
    """They are positive from bright to dark, ours from dark to bright."""
    np.testing.assert_array_equal(-edges.SOBEL, [[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    np.testing.assert_array_equal(-edges.SCHARR, [[3, 0, -3], [10, 0, -10], [3, 0, -3]])


def test_ele510_convolution_31():
    rows = [[1, 0, 1, 0, 1, 0], [0, 1, 1, 0, 1, 1], [1, 0, 1, 0, 1, 0],
            [1, 0, 1, 1, 1, 0], [0, 1, 1, 0, 1, 1], [1, 0, 1, 0, 1, 0]]  # fmt: skip
    got = slide_over(rows, np.arange(1, 10).reshape(3, 3))
    assert got.shape == (4, 4) and got[0, 0] == 31


def test_ntu_convolution():
    """The numbers are those of a correlation, and the formula mirrors the kernel."""
    shown = [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    np.testing.assert_array_equal(slide_over(DUMOULIN, KERNEL), shown)
    by_formula = slide_over(DUMOULIN, filters.mirrored(np.array(KERNEL)))
    x, h = np.array(DUMOULIN), np.array(KERNEL)
    y_22 = sum(
        x[i, j] * h[2 - i, 2 - j] for i in range(3) for j in range(3)
    )  # y[m,n] = Σ x[i,j] · h[m-i,n-j]
    assert by_formula[0, 0] == y_22 == 18 != shown[0][0]


@pytest.mark.parametrize("border, outside", [("zeros", 0), ("ones", 1)])
def test_ntu_padding(border, outside):
    got = slide_over(DUMOULIN, KERNEL, border)
    assert got.shape == (5, 5)
    padded = np.pad(DUMOULIN, 1, constant_values=outside)
    np.testing.assert_array_equal(got, slide_over(padded, KERNEL))


def test_ntu_padding_reflective():
    padded = np.pad(DUMOULIN, 1, mode="reflect")
    np.testing.assert_array_equal(
        slide_over(DUMOULIN, KERNEL, "reflect"), slide_over(padded, KERNEL)
    )


def test_ntu_dilation_widens_the_field_and_adds_no_weights():
    kernel = jnp.ones((3, 3, 1, 1))
    seen = [
        receptive_fields(
            lambda x, d=dilation: conv2d(x, kernel, dilation=d), jnp.ones((1, 9, 9, 1))
        ).size[0]
        for dilation in (1, 2, 3)
    ]
    assert seen == [3, 5, 7]


def test_mo434_convolution_followed_by_activation():
    np.testing.assert_array_equal(edges.SOBEL, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    dark_to_bright = np.repeat([0, 10], [3, 3])[None].repeat(5, 0)
    got = activation.relu(slide_over(dark_to_bright, edges.SOBEL))
    np.testing.assert_array_equal(got, [[0, 40, 40, 0]] * 3)
    bright_to_dark = dark_to_bright[:, ::-1]
    assert not activation.relu(slide_over(bright_to_dark, edges.SOBEL)).any()


def test_mo434_activation_table():
    before = [[6, 1, 7, -9], [9, 8, -2, -17], [12, 13, -10, -19], [11, 11, -9, -13]]
    after = [[6, 1, 7, 0], [9, 8, 0, 0], [12, 13, 0, 0], [11, 11, 0, 0]]
    np.testing.assert_array_equal(activation.relu(jnp.array(before)), after)


def test_mo434_perceptron_is_a_signed_distance():
    draw = np.random.default_rng(0)
    x = draw.random((1, 5, 5, 2), np.float32)
    weights, bias = draw.standard_normal((9, 2, 1)).astype(np.float32), -0.3
    patches = filters.patches(x, filters.box(3))[0, 2, 2].reshape(-1)
    flat = weights.reshape(-1)
    foot = patches - (patches @ flat + bias) / (flat @ flat) * flat
    assert abs(foot @ flat + bias) < 1e-5  # it lies in the hyperplane
    bank = filters.kernel_bank(filters.box(3), weights)
    distance = (filters.convolve(x, bank)[0, 2, 2, 0] + bias) / np.linalg.norm(flat)
    np.testing.assert_allclose(abs(distance), np.linalg.norm(patches - foot), rtol=1e-5)


def test_mo434_pooling_with_stride():
    """Without padding the slide has ⌊(2n - w) / 2s⌋: one less than there are, or two
    for odd windows of stride 1; with padding its ⌈n / s⌉ is right."""
    for n, w, s in ((8, 2, 2), (9, 3, 3), (10, 3, 2), (7, 3, 1), (12, 5, 3)):
        x = jnp.zeros((1, n, n, 1))
        right = arithmetic.output_size(n, w, stride=s)
        assert pooling.max_pool(x, w, s).shape[1] == right == (n - w) // s + 1
        padded = pooling.max_pool(x, w, s, "SAME").shape[1]
        assert padded == -(-n // s)
    on_the_slide = (2 * 8 - 2) // (2 * 2)
    assert on_the_slide == 3 != arithmetic.output_size(8, 2, stride=2) == 4


def test_mo434_min_and_average_pooling():
    x = image([[1, 2, 5, 3], [3, 0, 1, 2], [2, 1, 3, 4], [1, 1, 2, 0]])
    np.testing.assert_array_equal(pooling.min_pool(x, 2)[0, ..., 0], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(
        pooling.avg_pool(x, 2)[0, ..., 0], [[1.5, 2.75], [1.25, 2.25]]
    )


def test_rwth_step_and_logistic_functions():
    z = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(activation.step(z), [0, 0, 1])
    f = activation.sigmoid
    np.testing.assert_allclose(f(z), 1 / (1 + np.exp(-z)), rtol=1e-6)
    np.testing.assert_allclose(f(z), 1 - f(-z), rtol=1e-6)
    np.testing.assert_array_equal(f(jnp.array([-200.0, 200.0])), [0, 1])


def test_rwth_other_activation_functions():
    x = jnp.array([-2.0, -0.5, 0.0, 3.0])
    np.testing.assert_allclose(activation.leaky_relu(x), np.maximum(0.1 * x, x))
    np.testing.assert_allclose(activation.tanh(x), np.tanh(x), rtol=1e-6)
    elu = np.where(x >= 0, x, 0.5 * (np.exp(x) - 1))
    np.testing.assert_allclose(activation.elu(x, 0.5), elu, rtol=1e-6)
    draw = np.random.default_rng(0).standard_normal
    inputs, w, b = draw((4, 3)), draw((2, 3, 1)), draw((2, 1))
    expected = np.maximum(inputs @ w[0] + b[0], inputs @ w[1] + b[1])
    got = activation.maxout(*(jnp.asarray(a, jnp.float32) for a in (inputs, w, b)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    for function in (activation.leaky_relu, activation.elu, activation.step):
        assert np.isfinite(jax.vmap(jax.grad(function))(x)).all()


def test_rwth_multilayer_perceptron_266610():
    """At 256×256 the slide has almost 2 million weights; there are 19.7 million."""
    widths = [28 * 28, 300, 100, 10]
    each = [arithmetic.dense_parameters(pair) for pair in itertools.pairwise(widths)]
    assert each == [235_500, 30_100, 1_010] and sum(each) == 266_610
    assert [layer.parameters for layer in measures.layers("mlp")] == each
    assert arithmetic.dense_parameters([256 * 256, *widths[1:]]) == 19_692_210


def test_rwth_weights_of_a_neuron():
    assert arithmetic.convolution_parameters((5, 5), 3, 1) == 75 + 1
    assert arithmetic.convolution_parameters((3, 3), 20, 1) == 180 + 1


def test_rwth_parameter_sharing():
    """122,304 is of 28×28 outputs, which come of 32×32 pixels; 28×28 pixels without
    padding, as on the slide, make 24×24 outputs and 89,856 weights."""
    assert arithmetic.local_parameters((5, 5), 1, 6, (28, 28)) == 122_304
    assert arithmetic.convolution_parameters((5, 5), 1, 6) == 156
    assert measures.layers("lenet5")[0].parameters == 156
    assert arithmetic.output_size(32, 5) == 28
    size = arithmetic.output_size(28, 5)
    assert arithmetic.local_parameters((5, 5), 1, 6, (size, size)) == 89_856


def test_rwth_lenet5_layers():
    """The slide's second fully connected layer has 100 units, LeNet-5's F6 has 84."""
    images = jnp.zeros((1, 32, 32, 1))
    model = models.create("lenet5")
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs, _ = jax.eval_shape(model.apply, variables, images)
    shapes = {name: outputs[name].shape[1:] for name in ("c1", "s2", "c3", "s4")}
    assert list(shapes.values()) == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16)]
    assert outputs["c5"].shape == (1, 120) and outputs["pre_logits"].shape == (1, 84)


def test_rwth_spatial_arrangement_stride_1_and_stride_2():
    np.testing.assert_array_equal(
        slide_over(DUMOULIN, KERNEL), [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    )
    # The third picture's image is not printed; of this one the source has the numbers
    # at stride 2 and padding 1, and they are as many.
    got = slide_over(DUMOULIN, KERNEL, "zeros", strides=2)
    np.testing.assert_array_equal(got, [[6, 17, 3], [8, 17, 13], [6, 4, 4]])
    assert arithmetic.output_size(5, 3, stride=2, padding=1, whole=True) == 3
    assert slide_over(DUMOULIN, KERNEL, "zeros").shape == (5, 5)


def test_rwth_constraints_for_the_hyperparameters():
    with pytest.raises(UsageError, match="no whole number: use stride 1"):
        arithmetic.output_size(10, 3, stride=2, whole=True)
    assert arithmetic.output_size(10, 3, stride=1, whole=True) == 8
    assert arithmetic.output_size(10, 3, stride=2) == 4  # a pixel is left out


def test_rwth_convolution_demo():
    assert arithmetic.output_size(7, 3, stride=2, padding=1, whole=True) == 4
    assert arithmetic.convolution_parameters((3, 3), 3, 2) == 2 * (27 + 1)


def test_rwth_pooling_layers():
    x = image([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    np.testing.assert_array_equal(pooling.max_pool(x, 2)[0, ..., 0], [[6, 8], [3, 4]])
    squares = [[1 + 1 + 25 + 36, 4 + 16 + 49 + 64], [9 + 4 + 1 + 4, 1 + 0 + 9 + 16]]
    np.testing.assert_allclose(
        pooling.l2_pool(x, 2)[0, ..., 0], np.sqrt(squares), rtol=1e-6
    )
    # The gradient goes to the value that was the largest, by the index that was kept.
    gradient = jax.grad(lambda x: pooling.max_pool(x, 2).sum())(x)[0, ..., 0]
    np.testing.assert_array_equal(
        gradient, [[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]]
    )
    pooled, switches = pooling.max_pool_with_switches(x, 2)
    back = pooling.max_unpool(pooled, switches, 2, (4, 4))[0, ..., 0]
    np.testing.assert_array_equal(back, gradient * x[0, ..., 0])


def test_rwth_three_small_filters_instead_of_a_large_one():
    c = 16
    large = arithmetic.convolution_parameters((7, 7), c, c, bias=False)
    small = 3 * arithmetic.convolution_parameters((3, 3), c, c, bias=False)
    assert (large, small) == (49 * c**2, 27 * c**2)

    def stacked(x):
        for _ in range(3):
            x = activation.relu(conv2d(x, jnp.ones((3, 3, 1, 1))))
        return x

    assert receptive_fields(stacked, jnp.ones((1, 9, 9, 1))).size == (7, 7)


def test_nsysu_convolution_operations():
    draw = np.random.default_rng(0).integers(1, 99, 16)
    a, b, c, d, e, f, g, h, i, j, k, l = draw[:12]
    alpha, beta, gamma, delta = draw[12:]
    shown = [
        [a * alpha + b * beta + d * gamma + e * delta,
         b * alpha + c * beta + e * gamma + f * delta],
        [d * alpha + e * beta + g * gamma + h * delta,
         e * alpha + f * beta + h * gamma + i * delta],
        [g * alpha + h * beta + j * gamma + k * delta,
         h * alpha + i * beta + k * gamma + l * delta],
    ]  # fmt: skip
    got = slide_over(draw[:12].reshape(4, 3), [[alpha, beta], [gamma, delta]])
    np.testing.assert_array_equal(got, shown)


def test_nsysu_pooling():
    x = image([[1, 2, 5, 3], [3, 0, 1, 2], [2, 1, 3, 4], [1, 1, 2, 0]])
    np.testing.assert_array_equal(pooling.max_pool(x, 2)[0, ..., 0], [[3, 5], [2, 4]])


def test_nsysu_pooling_on_the_depth_dimension():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 4, 7)), jnp.float32)
    got = pooling.over_depth(pooling.max_pool, x, 3, 2)
    expected = np.stack([x[..., c : c + 3].max(-1) for c in (0, 2, 4)], -1)
    np.testing.assert_array_equal(got, expected)
    means = pooling.over_depth(pooling.avg_pool, x, 3)
    np.testing.assert_allclose(means[..., 0], x[..., :3].mean(-1), rtol=1e-6, atol=1e-6)


def test_nsysu_memory_requirements():
    two, every = measures.memory("lenet5")
    maps = [32 * 32, 28 * 28 * 6, 10 * 10 * 16, 120, 84, 10]
    assert two == 4 * (maps[1] + maps[2]) and every == 4 * sum(maps)


@pytest.mark.slow  # drawing from Beta is slow to compile
def test_nsysu_mixup_in_four_steps():
    key, classes = jax.random.key(3), 4
    images = jax.random.normal(jax.random.key(0), (6, 5, 5, 1))
    labels = jnp.arange(6) % classes
    mixed = augment.mixup(classes, 0.4)(key, {"image": images, "label": labels})
    # 1. another image, 2. a weight, 3. of the images, 4. of the labels, the same weight
    others, one_hot = jnp.roll(images, 1, 0), np.eye(classes)[np.asarray(labels)]
    own = (np.asarray(mixed["target"]) * one_hot).sum(1)
    assert ((own > 0) & (own < 1)).any()
    share = own[:, None, None, None].astype(np.float32)
    np.testing.assert_allclose(
        mixed["image"], share * images + (1 - share) * others, atol=1e-5
    )
    np.testing.assert_allclose(
        mixed["target"],
        own[:, None] * one_hot + (1 - own[:, None]) * np.roll(one_hot, 1, 0),
        atol=1e-6,
    )


def test_nsysu_label_smoothing():
    """The vector is right; the slide's 1 - ε/N would be 0.99, it is 1 - ε + ε/N."""
    one_hot = jax.nn.one_hot(3, 10)
    got = optax.smooth_labels(one_hot, 0.1)  # what `tasks.classification` has
    np.testing.assert_allclose(got, [0.01] * 3 + [0.91] + [0.01] * 6, atol=1e-7)
    np.testing.assert_allclose(got.sum(), 1, atol=1e-6)


def test_nsysu_convolution_and_transposed_convolution():
    w = np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    matrix = convolution_matrix(jnp.asarray(w)[..., None, None], (4, 4))
    shown = np.zeros((4, 16))
    for row, (i, j) in enumerate(np.ndindex(2, 2)):
        for u, v in np.ndindex(3, 3):
            shown[row, 4 * (i + u) + j + v] = w[u, v]
    assert shown[0].tolist() == [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9] + [0] * 5
    np.testing.assert_array_equal(matrix, shown)
    draw = np.random.default_rng(0)
    x = draw.integers(-9, 9, (4, 4)).astype(np.float32)
    np.testing.assert_array_equal(matrix @ x.ravel(), slide_over(x, w).ravel())
    y = draw.integers(-9, 9, (1, 2, 2, 1)).astype(np.float32)
    kernel = jnp.asarray(w)[..., None, None]
    up = conv_transpose(jnp.asarray(y), kernel, strides=1, padding=0)
    np.testing.assert_array_equal(up.ravel(), matrix.T @ y.ravel())
    _, back = jax.vjp(lambda x: conv2d(x, kernel, padding="VALID"), image(x))
    np.testing.assert_array_equal(back(jnp.asarray(y))[0].ravel(), matrix.T @ y.ravel())


@pytest.mark.parametrize("strides, padding, dilation", [(2, 1, 1), ((1, 2), 0, 2)])
def test_nsysu_matrices_of_other_convolutions(strides, padding, dilation):
    draw = np.random.default_rng(0)
    kernel = jnp.asarray(draw.standard_normal((3, 3, 2, 3)), jnp.float32)
    x = jnp.asarray(draw.standard_normal((1, 7, 6, 2)), jnp.float32)
    options = dict(strides=strides, padding=padding, dilation=dilation)
    matrix = convolution_matrix(kernel, (7, 6), **options)
    y, back = jax.vjp(lambda x: conv2d(x, kernel, **options), x)
    np.testing.assert_allclose(matrix @ x.ravel(), y.ravel(), atol=1e-5)
    np.testing.assert_allclose(matrix.T @ y.ravel(), back(y)[0].ravel(), atol=1e-4)


def test_nsysu_size_of_the_convolution_filter():
    c = 8
    five = arithmetic.convolution_parameters((5, 5), c, c, bias=False)
    assert five == 25 * c**2 > 2 * 9 * c**2


def test_nsysu_alexnet_table():
    """The slide's F8 follows C7, and its three dense layers are F8, F9 and Out.  The
    network pools once more before them: without it F8 alone had 177 million weights."""
    sizes, size = [], 227
    for window, stride, padding in (
        (11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1)
    ):  # fmt: skip
        size = arithmetic.output_size(
            size, window, stride=stride, padding=padding, whole=True
        )
        sizes.append(size)
    assert sizes == [55, 27, 27, 13, 13, 13, 13]
    pooled = arithmetic.output_size(13, 3, stride=2, whole=True)
    found = {layer.name: layer for layer in measures.layers("alexnet_2012")}
    assert pooled == 6
    assert found["classifier.1"].parameters == (6 * 6 * 256 + 1) * 4096 == 37_752_832
    assert (13 * 13 * 256 + 1) * 4096 == 177_213_440
