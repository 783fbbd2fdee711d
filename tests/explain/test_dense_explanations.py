"""What is explained of a mask, and of an object, is what they depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import explain
from jaxvision.explain.methods import METHODS, Setting
from tests import predictors
from tests.explain import dense

METHODS_OF_PIXELS = ("saliency", "integrated_gradients", "occlusion", "grad_cam")


@functools.cache
def looked_at(kind):
    """A network, its outputs for an image, and the image as it is given."""
    made = getattr(dense, kind)()
    pixels = np.stack(predictors.pictures(1, dense.SIDE))
    images = made.preparation.transform(jax.random.key(0), {"image": pixels})["image"]

    def forward(images):
        return made.model.apply(made.variables, images)[0]

    own = {name: np.asarray(each)[0] for name, each in forward(images).items()}
    return made.task.explained, forward, own, images[0]


def maps_of(kind, layer, part):
    """The map of each method, at the size of the image."""
    explained, forward, _, image = looked_at(kind)

    @jax.jit
    def made(image, part):
        setting = Setting(
            forward,
            lambda outputs: explained.score(outputs, part),
            layer,
            jnp.zeros_like(image),
            jax.random.key(0),
        )
        return {name: METHODS[name].call(setting, image) for name in METHODS_OF_PIXELS}

    return made(image, part)


def test_a_pixel_of_a_mask_is_explained_by_what_it_sees():
    explained, _, own, _ = looked_at("segmentation")
    part = explained.choose(own, (dense.SIDE, dense.SIDE), pixel=(10, 20))
    near = np.zeros((dense.SIDE, dense.SIDE), bool)
    near[9:12, 19:22] = True
    maps = maps_of("segmentation", "maps", part)
    for name in ("saliency", "integrated_gradients"):
        assert maps[name][near].max() > 0 == jnp.abs(maps[name][~near]).max()
    # A square of 4 pixels that covers some of these reaches 3 farther.
    reached = np.zeros_like(near)
    reached[6:15, 16:25] = True
    assert maps["occlusion"][reached].max() > 0 == maps["occlusion"][~reached].max()


def test_a_class_of_a_mask_is_explained_where_it_is():
    explained, forward, own, image = looked_at("segmentation")
    part = explained.choose(own, (dense.SIDE, dense.SIDE), number=2)
    np.testing.assert_array_equal(part.region, own["logits"].argmax(-1) == 2)
    assert 0 < part.region.sum() < part.region.size
    score = explain.part_score(forward, explained, part)
    parts = explain.integrated_gradients(score, image[None], 0.0, steps=16)
    gained = score(image[None]) - score(jnp.zeros_like(image)[None])
    np.testing.assert_allclose(parts.sum(), gained[0], rtol=0.02)
    np.testing.assert_allclose(
        score(image[None])[0], own["logits"][..., 2][part.region].mean(), rtol=1e-5
    )


@pytest.mark.parametrize("layer", ["p3", pytest.param("p4", marks=pytest.mark.slow)])
def test_an_object_is_explained_by_what_its_anchor_sees(layer):
    explained, _, own, _ = looked_at("detection")
    # The surest of this map: what is said of other anchors does not count.
    side = dense.CELLS[layer]
    across = dense.SIDE // side
    first = {"p3": 0, "p4": 16}[layer]
    only = np.full_like(own["class_logits"], -50)
    rows = slice(first, first + across**2)
    only[rows] = own["class_logits"][rows]
    size = (dense.SIDE, dense.SIDE)
    part = explained.choose(own | {"class_logits": only}, size)
    row, column = divmod(int(part.place) - first, across)
    cell = np.zeros(size, bool)
    cell[side * row : side * (row + 1), side * column : side * (column + 1)] = True
    maps = maps_of("detection", layer, part)
    for name in ("saliency", "integrated_gradients"):
        assert maps[name][cell].max() > 0 == jnp.abs(maps[name][~cell]).max()
    assert cell.ravel()[int(maps["occlusion"].argmax())]
    cam = np.asarray(maps["grad_cam"])
    assert cam.shape == (across, across)
