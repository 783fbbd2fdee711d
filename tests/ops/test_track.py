"""Drawings of a real mouse movement, against what it says point by point."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops.track import draw_track

# A movement of 39 pixels to the north-east, recorded from a hand: steps in x and y
# (upwards) and the milliseconds they took.  From the package smart-mouse (MIT licence).
STEPS_X = [
    1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1,
    0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, -1, 0, 0, 1, 0,
]  # fmt: skip
STEPS_Y = [
    0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0,
    1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1,
]  # fmt: skip
TOOK = [
    32, 2, 7, 5, 3, 3, 1, 4, 4, 3, 2, 2, 4, 4, 5, 1, 1, 5, 4, 1, 2, 1, 5, 1, 3, 3,
    4, 4, 3, 6, 4, 3, 2, 8, 4, 5, 7, 5, 8, 10, 1, 10, 5, 67, 14, 14, 20, 7, 71,
]  # fmt: skip
SIZE = 40


@pytest.fixture(scope="module")
def mouse():
    x = np.cumsum([0, *STEPS_X])
    y = -np.cumsum([0, *STEPS_Y])
    points = np.stack([x, y], 1).astype(np.float32)
    return jnp.asarray(points), jnp.cumsum(jnp.asarray([0, *TOOK], jnp.float32))


def by_hand(points, times, size, thickness=1.5, margin=0.06):
    """Pixel by pixel and segment by segment, as the docstring has it."""
    points, times = np.asarray(points, float), np.asarray(times, float)
    low, high = points.min(0), points.max(0)
    scale = size * (1 - 2 * margin) / (high - low).max()
    place = (points - (low + high) / 2) * scale + size / 2
    speed = np.hypot(*np.diff(place, axis=0).T) / np.diff(times)
    middle = (times[1:] + times[:-1]) / 2
    change = np.concatenate([[0], np.diff(speed) / np.diff(middle)])
    image = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            p = np.array([column + 0.5, row + 0.5])
            best = 0.0
            for k, (a, b) in enumerate(itertools.pairwise(place)):
                way = np.clip((p - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
                away = np.linalg.norm(p - a - way * (b - a))
                ink = np.clip((thickness + 1) / 2 - away, 0, 1)
                if ink >= best and ink > 0:
                    best = ink
                    image[row, column] = ink * np.array([
                        1, speed[k] / speed.max(),
                        (1 + change[k] / np.abs(change).max()) / 2,
                    ])  # fmt: skip
    return image


@pytest.mark.slow
def test_a_mouse_movement_is_drawn_as_said(mouse):
    got = np.asarray(draw_track(*mouse, size=SIZE))
    wanted = by_hand(*mouse, SIZE)
    assert got.shape == (SIZE, SIZE, 3) and got.dtype == np.float32
    np.testing.assert_allclose(got[..., 0], wanted[..., 0], atol=1e-4)
    # Where two segments cover a pixel alike, rounding decides whose colour it has.
    assert (np.abs(got - wanted).max(-1) > 1e-3).mean() < 0.02
    assert got.min() >= 0 and got.max() <= 1
    # It goes from the lower left to the upper right, and is slowest at its end.
    assert got[SIZE - 4 :, :6, 0].max() > 0.7 and got[:4, SIZE // 2 :, 0].max() > 0.7
    assert got[:4, :, 1].max() < 0.2


def test_channels_tell_speed_and_acceleration():
    """Along a straight line: slow, fast, slow again."""
    points = jnp.array([[0.0, 0], [1, 0], [4, 0], [5, 0]])
    image = np.asarray(draw_track(points, jnp.arange(4.0), size=51, margin=0.0))
    line = image[25, [4, 25, 46]]
    np.testing.assert_allclose(line[:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(line[:, 1], [1 / 3, 1, 1 / 3], atol=1e-5)
    np.testing.assert_allclose(line[:, 2], [0.5, 1, 0], atol=1e-5)


@pytest.mark.slow
def test_place_and_size_do_not_matter_and_neither_does_padding(mouse):
    points, times = mouse
    image = draw_track(points, times, size=SIZE)
    moved = draw_track(points * 7 + jnp.array([[300.0, -40.0]]), times * 3, size=SIZE)
    np.testing.assert_allclose(moved, image, atol=2e-3)
    padding = jnp.full((5, 2), jnp.nan)
    longer = jnp.concatenate([points, padding]), jnp.concatenate([times, padding[:, 0]])
    np.testing.assert_allclose(draw_track(*longer, size=SIZE), image, atol=1e-6)


def test_clicks_are_white_discs(mouse):
    points, times = mouse
    clicks = jnp.zeros(len(points), bool).at[0].set(True)
    plain = np.asarray(draw_track(points, times, size=SIZE))
    clicked = np.asarray(draw_track(points, times, size=SIZE, clicks=clicks))
    changed = np.argwhere((clicked != plain).any(-1))
    assert len(changed) > 3
    assert (clicked[..., :].min(-1) == 1).any()
    centre = changed.mean(0)
    assert np.abs(changed - centre).max() <= 3
    assert centre[0] > SIZE * 0.8 and centre[1] < SIZE * 0.3


def test_a_pen_that_rests_is_a_dot_and_finite():
    image = np.asarray(draw_track(jnp.ones((3, 2)), jnp.zeros(3), size=11))
    assert np.isfinite(image).all()
    assert np.unravel_index(image[..., 0].argmax(), (11, 11)) == (5, 5)


def test_batched_and_in_jit_it_is_the_same(mouse):
    points, times = (jnp.stack([a, a * 2, a[::1] + 1]) for a in mouse)
    alone = jnp.stack(
        [draw_track(p, t, size=SIZE) for p, t in zip(points, times, strict=True)]
    )
    draw = jax.jit(jax.vmap(lambda p, t: draw_track(p, t, size=SIZE)))
    np.testing.assert_allclose(draw(points, times), alone, atol=2e-3)


@pytest.mark.parametrize(
    ("points", "times", "options", "message"),
    [
        ((5, 3), (5,), {}, r"points must be \[T,2\] with T ≥ 2, got \[5, 3\]"),
        ((1, 2), (1,), {}, r"got \[1, 2\]"),
        ((5, 2), (4,), {}, r"times must be \[5\], one for each point, got \[4\]"),
        ((5, 2), (5,), {"size": 0}, "size must be positive, got 0"),
        ((5, 2), (5,), {"thickness": 0}, "thickness must be positive"),
        ((5, 2), (5,), {"margin": 0.5}, "margin must be from 0 to below 0.5"),
    ],
)
def test_bad_input(points, times, options, message):
    with pytest.raises(UsageError, match=message):
        draw_track(jnp.ones(points), jnp.ones(times), **({"size": 8} | options))
