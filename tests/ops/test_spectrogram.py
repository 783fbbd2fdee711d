"""Spectrograms of a real sound, against SciPy's."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal as scipy_signal

from jaxvision.errors import UsageError
from jaxvision.ops.spectrogram import decibels, mel, mel_filters, spectrogram


@pytest.fixture(scope="module")
def eeg():
    """800 samples of four channels of an electroencephalogram, which matplotlib has."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "sample_data" / "eeg.dat"
    return np.fromfile(file, float).reshape(800, 4).T


@pytest.fixture(scope="module")
def pluck():
    """A plucked string, 11,025 samples a second, from Python's own tests."""
    from scipy.io import wavfile

    spec = importlib.util.find_spec("test")
    places = spec.submodule_search_locations if spec else []
    for place in places or []:
        file = Path(place) / "audiodata" / "pluck-pcm16.wav"
        if file.exists():
            rate, samples = wavfile.read(file)
            return rate, samples[:, 0].astype(np.float32)
    pytest.skip("this Python comes without its tests and their sounds")


@pytest.mark.parametrize(("frame", "hop"), [(64, 16), (64, 64), (65, 7), (800, 1)])
def test_is_the_density_that_scipy_gives(eeg, frame, hop):
    got = spectrogram(jnp.asarray(eeg, jnp.float32), 200.0, frame=frame, hop=hop)
    _, _, wanted = scipy_signal.spectrogram(
        eeg, 200, window="hann", nperseg=frame, noverlap=frame - hop, detrend=False
    )
    wanted = np.swapaxes(wanted, -1, -2)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-6 * wanted.max())


def test_the_string_sounds_at_the_pitch_that_its_waveform_has(pluck):
    rate, sound = pluck
    power = spectrogram(jnp.asarray(sound), rate, frame=1024, hop=256)
    loudest = int(np.argmax(np.asarray(power).sum(0)[2:])) + 2
    pitch = loudest * rate / 1024
    lags = np.correlate(sound, sound, "full")[len(sound) - 1 :]
    period = 10 + np.argmax(lags[10:400])
    overtone = pitch * period / rate  # the loudest may be a multiple of the pitch
    assert abs(overtone - round(overtone)) < 0.1 and round(overtone) >= 1
    # It fades: the end is at least 10 dB below the beginning.
    level = np.asarray(power).sum(1)
    assert level[-1] < level[:4].max() / 10


def test_the_sum_over_frequencies_is_the_power(eeg):
    rate, frame = 200.0, 100
    power = spectrogram(jnp.asarray(eeg, jnp.float32), rate, frame=frame, hop=50)
    window = scipy_signal.get_window("hann", frame)
    for k in (0, 5):
        part = eeg[:, k * 50 : k * 50 + frame] * window
        wanted = (part**2).sum(1) / (window**2).sum()
        got = np.asarray(power[:, k]).sum(-1) * rate / frame
        np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_mel_bands_are_triangles_evenly_spaced_in_pitch():
    bins, rate, bands = 2049, 16_000, 40
    filters = np.asarray(mel_filters(bands, bins, rate, low=50, high=7_000))
    hertz = np.arange(bins) * rate / (2 * (bins - 1))
    peaks = hertz[filters.argmax(0)]
    np.testing.assert_allclose(
        np.diff(mel(peaks)), (mel(7_000) - mel(50)) / 41, rtol=0.15
    )
    # Between the first peak and the last, neighbours share each frequency.
    inner = (hertz >= peaks[0] + 4) & (hertz <= peaks[-1] - 4)
    np.testing.assert_allclose(filters[inner].sum(1), 1, atol=1e-5)
    assert filters[(hertz <= 50) | (hertz >= 7_000)].max() < 1e-6
    assert float(mel(jnp.float32(1000))) == pytest.approx(1000, abs=0.1)


def test_decibels_are_relative_to_the_loudest_of_each():
    power = jnp.array(
        [[[1.0, 0.1], [1e-30, 0]], [[0, 0], [0, 0]], [[200, 2], [0, 200]]]
    )
    wanted = [[[0, -10], [-80, -80]], [[-80, -80], [-80, -80]], [[0, -20], [-80, 0]]]
    np.testing.assert_allclose(decibels(power), wanted, atol=1e-4)


def test_alone_batched_and_in_jit_are_the_same(eeg):
    eeg = jnp.asarray(eeg, jnp.float32)

    def levels(signal):
        power = spectrogram(signal, 200, frame=128, hop=32)
        return decibels(power @ mel_filters(10, 65, 200))

    alone = jnp.stack([levels(channel) for channel in eeg])
    for together in (levels(eeg), jax.vmap(levels)(eeg), jax.jit(levels)(eeg)):
        np.testing.assert_allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectrogram(jnp.ones(50), 1, frame=64, hop=8), "50 samples, fewer"),
        (lambda: spectrogram(jnp.ones(50), 1, frame=1, hop=8), "frame must have 2"),
        (lambda: spectrogram(jnp.ones(50), 1, frame=8, hop=0), "hop must be positive"),
        (lambda: spectrogram(jnp.ones(50), 0, frame=8, hop=1), "rate must be positive"),
        (lambda: mel_filters(0, 65, 200), "bands must be positive, got 0"),
        (lambda: mel_filters(4, 65, 200, high=101), "100.0 Hz, got 0 and 101"),
        (lambda: mel_filters(4, 65, 200, low=50, high=50), "in order"),
        (lambda: mel_filters(128, 65, 16_000), "narrower than a bin of 125 Hz"),
        (lambda: decibels(jnp.ones((2, 2)), span=0), "span must be positive, got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
