"""Training steps with and without a line of the tables of convolution."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import forms
from jaxvision.ops.convolution import conv2d, cpu

STRIDED = ("INPUT_GRADIENT", "patches")


def lines_of_a_strided_convolution():
    """As it is traced: the forms in which it and its gradients are computed."""
    images = jax.ShapeDtypeStruct((16, 9, 8, 20), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 20, 17), jnp.float32)
    lines = set()

    def loss(images, kernel):
        return conv2d(images, kernel, strides=2).sum()

    jax.eval_shape(forms.noting(lines)(jax.grad(loss, (0, 1))), images, kernel)
    return lines


def test_a_line_that_is_taken_out_leaves_its_cases_to_the_next():
    before = {table: getattr(cpu, table) for table in forms.TABLES}
    complete = lines_of_a_strided_convolution()
    assert STRIDED in complete
    with forms.without(STRIDED):
        shorter = lines_of_a_strided_convolution()
    assert shorter == complete - {STRIDED} | {("INPUT_GRADIENT", "plain")}
    assert {table: getattr(cpu, table) for table in forms.TABLES} == before


def test_the_tables_come_back_after_an_error():
    before = cpu.INPUT_GRADIENT
    with pytest.raises(ZeroDivisionError), forms.without(STRIDED):
        assert cpu.INPUT_GRADIENT != before
        _ = 1 / 0
    assert cpu.INPUT_GRADIENT == before
