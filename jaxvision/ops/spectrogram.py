"""A sound as an image: how much of each frequency there is at each time."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check

Array = jax.Array


def spectrogram(signal: Array, rate: float, *, frame: int, hop: int) -> Array:
    """Power spectral density [..., frames, frame // 2 + 1] of a signal [..., samples].

    Frames of `frame` samples start `hop` samples apart, as many as fit, and are
    multiplied with a Hann window; bin k is the frequency k · rate / frame.  The density
    is one-sided, in the signal's unit squared per unit of `rate` (V²/Hz), so that its
    sum over the bins times rate / frame is the mean power of the windowed frame (Welch
    1967, https://doi.org/10.1109/TAU.1967.1161901).

    Raises `UsageError` if not even one frame fits.
    """
    samples = signal.shape[-1]
    check(
        (frame >= 2, f"frame must have 2 samples or more, got {frame}"),
        (hop >= 1, f"hop must be positive, got {hop}"),
        (rate > 0, f"rate must be positive, got {rate}"),
        (
            samples >= frame,
            f"the signal has {samples} samples, fewer than the {frame} of one frame: "
            "pad it, or use shorter frames",
        ),
    )
    count = 1 + (samples - frame) // hop
    place = np.arange(count)[:, None] * hop + np.arange(frame)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    window = jnp.asarray(hann, jnp.float32)
    leading = tuple(range(signal.ndim))  # the axes of the frames before their samples
    spectrum = jnp.fft.rfft(signal[..., place] * jnp.expand_dims(window, leading))
    power = jnp.square(jnp.abs(spectrum)) / (rate * jnp.square(window).sum())
    # Each frequency stands for its negative as well, but for 0 and the Nyquist one.
    twice = np.full(frame // 2 + 1, 2.0)
    twice[0] = 1
    if frame % 2 == 0:
        twice[-1] = 1
    return power * jnp.expand_dims(twice.astype(np.float32), leading)


def mel(hertz: Array) -> Array:
    """The pitch scale 2595 · log₁₀(1 + f / 700) of O'Shaughnessy 1987, page 150."""
    return 2595 * jnp.log10(1 + hertz / 700)


def mel_filters(
    bands: int, bins: int, rate: float, *, low: float = 0, high: float | None = None
) -> Array:
    """Triangular filters [bins, bands] whose peaks, 1, are evenly spaced in mel.

    Each reaches from the peak of the one below to that of the one above; the first
    begins at `low` and the last ends at `high` hertz (None: half the rate).  `bins` are
    those of `spectrogram`.

    Raises `UsageError` for a range that is empty or exceeds half the rate, and for
    bands so narrow that no bin is in them.
    """
    high = rate / 2 if high is None else high
    check(
        (bands >= 1, f"bands must be positive, got {bands}"),
        (
            0 <= low < high <= rate / 2,
            f"low and high must be in order, from 0 to {rate / 2} Hz, got {low} and "
            f"{high}",
        ),
    )
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (low, high))
    edges = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    frequency = np.arange(bins)[:, None] * rate / (2 * (bins - 1))
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    filters = np.maximum(np.minimum(rising, falling), 0)
    empty = int((filters.sum(0) == 0).sum())
    check(
        (
            empty == 0,
            f"{empty} of the {bands} bands are narrower than a bin of "
            f"{rate / (2 * (bins - 1)):.3g} Hz: use fewer bands or longer frames",
        ),
    )
    return jnp.asarray(filters, jnp.float32)


def decibels(power: Array, *, span: float = 80) -> Array:
    """10 · log₁₀ of `power` [..., frames, bins] relative to the highest of each.

    From -span to 0; silence is -span throughout.
    """
    check((span > 0, f"span must be positive, got {span}"))
    highest = power.max((-2, -1), keepdims=True)
    relative = power / jnp.where(highest > 0, highest, 1)
    return 10 * jnp.log10(jnp.maximum(relative, 10 ** (-span / 10)))
