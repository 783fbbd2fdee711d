"""Our convolution behind JAX's signature: equal numbers, and ours where it may be."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.ops.convolution.drop_in import conv_general_dilated

OURS = {
    "strides": ((2, 9, 8, 4), dict(kernel_size=(3, 2), strides=2, padding=1)),
    "groups": ((2, 9, 8, 4), dict(kernel_size=(3, 3), feature_group_count=4)),
    "uneven": ((2, 9, 8, 4), dict(kernel_size=(3, 3), padding=((0, 1), (2, 0)))),
    "wrapped": ((2, 9, 8, 4), dict(kernel_size=(3, 3), padding="CIRCULAR")),
    "batches": ((2, 3, 6, 5, 4), dict(kernel_size=(3, 3), padding="VALID")),
    "series": ((2, 9, 4), dict(kernel_size=(3,), kernel_dilation=2, strides=2)),
    "causal": ((2, 9, 4), dict(kernel_size=(3,), padding="CAUSAL")),
}
THEIRS = {
    "volumes": ((2, 4, 5, 4, 2), dict(kernel_size=(3, 3, 3))),
    "transposed": (
        (2, 5, 6, 2),
        dict(kernel_size=(3, 3), input_dilation=2, padding=((1, 2), (1, 2))),
    ),
    "lower": ((2, 9, 8, 4), dict(kernel_size=(2, 2), padding="SAME_LOWER")),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", [*OURS, *THEIRS])
def test_equals_what_it_stands_for(case):
    shape, options = (OURS | THEIRS)[case]
    images = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    theirs = nn.Conv(8, **options)
    ours = theirs.clone(conv_general_dilated=conv_general_dilated)
    variables = theirs.init(jax.random.key(0), images)

    def outcome(module):
        def loss(variables, images):
            y = module.apply(variables, images)
            return jnp.sin(y).sum(), y

        return jax.grad(loss, (0, 1), has_aux=True)(variables, images)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        outcome(ours),
        outcome(theirs),
    )
    program = str(jax.make_jaxpr(ours.apply)(variables, images))
    assert ("custom_vjp" in program) == (case in OURS)


def test_other_layouts_and_types_are_left_to_jax():
    images, kernel = jnp.ones((1, 2, 5, 5)), jnp.ones((3, 2, 3, 3))
    for x, k, options in (
        (images, kernel, {}),
        (images.astype(int), kernel.astype(int), {}),
        (
            images.astype(jnp.bfloat16),
            kernel.astype(jnp.bfloat16),
            dict(preferred_element_type=jnp.float32),
        ),
    ):
        found = conv_general_dilated(x, k, (1, 1), "SAME", **options)
        wanted = jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", **options)
        np.testing.assert_array_equal(found, wanted)
