"""A track of a mouse or a pen as a drawing, coloured by speed and acceleration.

After the images of mouse movements by which Esman 2017 told users apart, for fraud
detection (Splunk and TensorFlow for security: catching the fraudster with behavior
biometrics): lines for the path, coloured by how it was gone, and discs for the clicks.
"""

import jax
import jax.numpy as jnp

from jaxvision.errors import check

Array = jax.Array


def draw_track(
    points: Array,
    times: Array,
    *,
    size: int,
    clicks: Array | None = None,
    thickness: float = 1.5,
    margin: float = 0.06,
) -> Array:
    """The image float32 [size, size, 3], from 0 to 1, of a track.

    points: [T,2], x to the right and y downwards, in any unit, T ≥ 2.  The track is
    scaled, both axes alike, to fill the image but for `margin` of its side on each.
    Points that are not a number, at the end, are padding.
    times: [T], increasing, in any unit.
    clicks: bool [T], drawn as white discs, twice as wide as the line.
    thickness: of the line in pixels; its edge is one pixel soft.

    Channel 0 is the line itself.  Channel 1 is the line times its speed, from 0 to 1,
    the track's highest.  Channel 2 is the line times (1 + a) / 2 with the change of
    speed in time a, from -1 to 1, relative to the largest: bright where it speeds up.
    Of lines over each other the later one is seen.  For a batch, `jax.vmap`.
    """
    check(
        (
            points.ndim == 2 and points.shape[1] == 2 and points.shape[0] >= 2,
            f"points must be [T,2] with T ≥ 2, got {list(points.shape)}",
        ),
        (
            times.shape == points.shape[:1],
            f"times must be {list(points.shape[:1])}, one for each point, got "
            f"{list(times.shape)}",
        ),
        (size >= 1, f"size must be positive, got {size}"),
        (thickness > 0, f"thickness must be positive, got {thickness}"),
        (0 <= margin < 0.5, f"margin must be from 0 to below 0.5, got {margin}"),
    )
    real = jnp.isfinite(points).all(-1)
    given = jnp.where(real[:, None], points, 0)
    low = jnp.where(real[:, None], points, jnp.inf).min(0)
    high = jnp.where(real[:, None], points, -jnp.inf).max(0)
    extent = jnp.maximum((high - low).max(), 1e-12)
    scale = size * (1 - 2 * margin) / extent
    place = (given - (low + high)[None] / 2) * scale + size / 2

    start, end = place[:-1], place[1:]
    drawn = real[:-1] & real[1:]
    elapsed = (times[1:] - times[:-1]).astype(place.dtype)
    elapsed = jnp.where(drawn, jnp.maximum(elapsed, 1e-12), 1)
    speed = jnp.where(drawn, jnp.linalg.norm(end - start, axis=-1) / elapsed, 0)
    gained = jnp.diff(speed, prepend=speed[:1])
    between = (elapsed + jnp.roll(elapsed, 1)) / 2  # from middle to middle
    acceleration = jnp.where(drawn, gained / between, 0)

    centres = jnp.arange(size, dtype=place.dtype) + 0.5
    pixel = jnp.stack(jnp.meshgrid(centres, centres), -1)[:, :, None]  # [size,size,1,2]
    from_start, along = pixel - start[None, None], (end - start)[None, None]
    length2 = jnp.maximum((along**2).sum(-1), 1e-12)
    way = jnp.clip((from_start * along).sum(-1) / length2, 0, 1)
    distance = jnp.linalg.norm(from_start - way[..., None] * along, axis=-1)
    covered = jnp.clip((thickness + 1) / 2 - distance, 0, 1)
    covered = jnp.where(drawn[None, None], covered, 0)
    ink = covered.max(-1)
    # The last segment of those that cover a pixel most.
    last = covered.shape[-1] - 1 - jnp.argmax(covered[..., ::-1], -1)
    colour = jnp.stack(
        [
            jnp.ones_like(speed),
            speed / jnp.maximum(speed.max(), 1e-12),
            (1 + acceleration / jnp.maximum(jnp.abs(acceleration).max(), 1e-12)) / 2,
        ],
        -1,
    )
    image = ink[..., None] * colour[last]
    if clicks is None:
        return image
    away = jnp.linalg.norm(pixel - place[None, None], axis=-1)  # [size,size,T]
    discs = jnp.clip(thickness + 0.5 - away, 0, 1)
    discs = jnp.where((clicks & real)[None, None], discs, 0)
    return jnp.maximum(image, discs.max(-1)[..., None])
