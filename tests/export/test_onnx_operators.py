"""Every operator that is translated, by ONNX Runtime against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.errors import UsageError
from jaxvision.export import onnx
from jaxvision.runs.predictor import Prediction
from tests import predictors

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")
operators = pytest.importorskip("jaxvision.export.operators")

SIZE = 6
TABLE = np.array([[0, 5], [2, 3]])


def dot(contract, batch=((), ()), **options):
    dims = (contract, batch)
    return lambda x, k: lax.dot_general(x, k, dims, **options)


def conv(x, kernel, **options):
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, dimension_numbers=order, **options)


def window(start, reducer, **options):
    return lambda x: lax.reduce_window(
        x, start, reducer, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0))
    )


KERNEL = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype(np.float32)
GROUPED = KERNEL[:, :, :1].repeat(3, -1)
MATRIX = KERNEL[0, 0]
ROW = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)

# Functions of x, float32 [b,6,6,3] about -1 to 1, each with what it is about.
FUNCTIONS = {
    "abs": jnp.abs,
    "add": lambda x: x + ROW,
    "add_any": lambda x: jax.grad(lambda y: (y * y + jnp.sin(y)).sum())(x),
    "and": lambda x: (x > 0) & (x < 0.5),
    "argmax": lambda x: jnp.argmax(x, -1),
    "argmin": lambda x: jnp.argmin(x, 1),
    "broadcast_in_dim": lambda x: jnp.concatenate(
        [jnp.broadcast_to(ROW, x.shape), x[:, :1, :1] * jnp.ones((1, 6, 6, 1))]
    ),
    "ceil": lambda x: jnp.ceil(3 * x),
    "clamp": lambda x: lax.clamp(-0.5, x, 0.25),
    "concatenate": lambda x: jnp.concatenate([x, 2 * x], -1),
    "conv_general_dilated": lambda x: conv(
        x, KERNEL, window_strides=(2, 1), padding=((1, 0), (2, 1)), rhs_dilation=(1, 2)
    ),
    "conv_general_dilated in groups": lambda x: conv(
        x, GROUPED, window_strides=(1, 1), padding="SAME", feature_group_count=3
    ),
    "convert_element_type": lambda x: (4 * x).astype(jnp.int32),
    "copy": jnp.copy,
    "cos": jnp.cos,
    "div": lambda x: x / (x * x + 1),
    "dim_as_value": lambda x: x * x.shape[0],
    "dot_general": lambda x: dot(((3,), (0,)))(x, MATRIX),
    "dot_general of matrices": lambda x: jnp.einsum("bijc,bkjc->bjik", x, x),
    "dynamic_slice": lambda x: lax.dynamic_slice_in_dim(x, np.int32(9), 2, 1),
    "eq": lambda x: jnp.round(x) == 0,
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "exp": jnp.exp,
    "expm1": jnp.expm1,
    "floor": lambda x: jnp.floor(3 * x),
    "gather": lambda x: jnp.take(x, TABLE, axis=1, mode="clip"),
    "gather of one": lambda x: x[:, :, 4],
    "gather of some": lambda x: x[:, 1:4, -1:],
    "gather of a grid": lambda x: x[:, 1::2, ::3],
    "ge": lambda x: x >= 0,
    "gt": lambda x: x > 0,
    "integer_pow": lambda x: x**3,
    "is_finite": lambda x: jnp.isfinite(1 / jnp.maximum(x, 0)),
    "le": lambda x: x <= 0,
    "log": lambda x: jnp.log(x * x + 1),
    "log1p": lambda x: jnp.log1p(x * x),
    "logistic": jax.nn.sigmoid,
    "lt": lambda x: x < 0,
    "max": lambda x: jnp.maximum(x, 0.25),
    "min": lambda x: jnp.minimum(x, ROW - 1),
    "mul": lambda x: x * ROW,
    "ne": lambda x: jnp.round(x) != 0,
    "neg": jnp.negative,
    "not": lambda x: ~(x > 0),
    "optimization_barrier": lambda x: lax.optimization_barrier((x, 2 * x))[1],
    "or": lambda x: (x > 0.5) | (x < -0.5),
    "pad": lambda x: lax.pad(
        x, np.float32(7), ((0, 0, 0), (1, 2, 0), (-1, 0, 0), (0, -2, 0))
    ),
    "pow": lambda x: (x * x + 0.1) ** ROW,
    "reduce_and": lambda x: (x > -0.9).all((1, 2)),
    "reduce_max": lambda x: x.max((1, 2)),
    "reduce_min": lambda x: x.min(-1),
    "reduce_or": lambda x: (x > 0.9).any((1, 2)),
    "reduce_prod": lambda x: x.prod(-1),
    "reduce_sum": lambda x: x.sum((1, 3)),
    "reduce_window_max": window(-np.inf, lax.max),
    "reduce_window_sum": window(0.0, lax.add),
    "reshape": lambda x: x.reshape(x.shape[0] * 4, 9, 3),
    "rev": lambda x: x[:, ::-1],
    "round": lambda x: (
        jnp.round(4 * x)
        + lax.round(jnp.float32(2.5) + 0 * x, lax.RoundingMethod.TO_NEAREST_EVEN)
    ),
    "rsqrt": lambda x: lax.rsqrt(x * x + 1),
    "select_n": lambda x: jnp.where(x > 0, x, ROW),
    "sign": jnp.sign,
    "sin": jnp.sin,
    "slice": lambda x: lax.slice(x, (0, 1, 0, 0), x.shape, (1, 2, 3, 1)),
    "split": lambda x: jnp.concatenate(jnp.split(x, (1, 3), 1)[::-1], 1),
    "sqrt": lambda x: jnp.sqrt(jnp.abs(x)),
    "square": jnp.square,
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "stop_gradient": lax.stop_gradient,
    "sub": lambda x: 1 - x,
    "stack": lambda x: jnp.stack([x, 2 * x], 2),
    "tanh": jnp.tanh,
    "tile": lambda x: lax.tile(x, (1, 2, 1, 3)),
    "tile for all images": lambda x: (
        x + jnp.tile(ROW * np.ones((1, 6, 1, 1), np.float32), (x.shape[0], 1, 6, 1))
    ),
    "transpose": lambda x: x.transpose(0, 3, 1, 2),
    "unstack": lambda x: sum(jnp.unstack(x, axis=1)[::2]),
    "a function inside": lambda x: jax.nn.gelu(jax.nn.relu(x), approximate=False),
    "a constant": lambda x: jnp.ones((1, 3)) + jnp.zeros((x.shape[0], 1)),
}


def prediction_of(function):
    """With `function` in place of a network and its task, of pixels from -1 to 1."""

    def call(variables, frozen, images, first):
        return {"y": function(images.astype(jnp.float32) / 127.5 - 1)}

    made = predictors.make("mlp", size=SIZE)
    return Prediction(call, {}, {}, made.preparation, (), None)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_operator_gives_what_jax_does(name, tmp_path):
    prediction = prediction_of(FUNCTIONS[name])
    file = tmp_path / "f.onnx"
    onnx.write(file, prediction)
    for count in (1, 3):
        images = np.stack(predictors.pictures(count, SIZE))
        expected = prediction.call({}, {}, images, 0)["y"]
        found = onnx.run(file, images)["y"]
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(
            found.astype(float), expected.astype(float), 1e-5, 1e-5
        )


def test_every_operator_is_tested():
    assert {name.partition(" ")[0] for name in FUNCTIONS} >= operators.OPERATORS.keys()


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: jnp.cumsum(x, 1), r"operator cumsum of float32\[b,6,6,3\]"),
        (jnp.sort, "operator sort"),
        (
            lambda x: x[:, (x[0, 0, 0, 0] > 0).astype(int)],
            "slice.*depends on the images",
        ),
        (lambda x: lax.pad(x, np.float32(0), ((0, 0, 1),) * 4), "pad .*between"),
    ],
)
def test_an_operator_that_has_no_form_is_named(function, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        onnx.write(tmp_path / "f.onnx", prediction_of(function))
    assert not [*tmp_path.iterdir()]
