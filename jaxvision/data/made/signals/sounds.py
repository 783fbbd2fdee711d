"""`sounds:PATH` and `sounds:drums`: sounds as log-mel spectrograms."""

import warnings
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.files import reading, split_names
from jaxvision.data.made.signals import files
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.ops.spectrogram import decibels, mel_filters, spectrogram

RATE = 22_050
"""Samples a second, to which every sound is resampled."""
RATES = 1_000, 768_000
"""Samples a second of a file, at least and at most."""
FRAME, HOP, BANDS, FRAMES = 1_024, 256, 64, 64
LOWEST = 40.0
"""Hertz where the first band begins; the last ends at 11,025."""
SAMPLES = FRAME + HOP * (FRAMES - 1)
"""Of each sound: 0.78 seconds from where it begins; shorter ones end in silence."""
SPAN = 80.0
"""Decibels below the loudest, which are black."""

_BEGINS = 0.02  # of the highest sample
_BATCH = 64

DRUMS = {
    "kick": ("x/lower", "x/upper", "v/lower", "v/upper"),
    "snare": ("o/lower", "o/upper", "i/lower", "i/upper", "u/lower", "d/upper"),
    "hi-hat": ("_/hyphen", "_/equals", "_/colon"),
    "clap": ("_/asterix", "h/upper", "h/lower"),
    "tom": ("m/lower", "m/upper"),
    "cymbal": ("_/tilde", "_/hash"),
    "shaker": ("s/lower", "s/upper"),
    "tabla": ("p/lower", "p/upper"),
}
"""The classes of the folders of samples in FoxDot, by its own descriptions."""


def load(name: Name) -> Splits:
    """Images [64,64,1]: time runs to the right, pitch upwards, brightness is loudness.

    `sounds:PATH` is a folder of one's own .wav files with a folder for each class, of
    any rate and number of channels.  `sounds:drums` are some 130 recordings of
    percussion in 8 classes that the package FoxDot carries.

    Each sound is averaged over its channels, resampled to 22,050 Hz, cut to 0.78 s from
    where it begins, and shown in 64 mel bands over 80 decibels.

    Raises `UsageError` for files that are not WAV or are cut, samples that are not
    finite, rates beyond `RATES`, and if FoxDot is not installed.
    """
    if name.rest != "drums":
        return files.load(name, (".wav",), (BANDS, FRAMES, 1), pictures)
    root = files.package_folder("FoxDot") / "snd"
    found = [
        (path, label)
        for label, folders in enumerate(DRUMS.values())
        for folder in folders
        for path in sorted((root / folder).glob("*.wav"))
    ]
    paths, labels = map(list, zip(*found, strict=True))
    return files.splits(
        name.text,
        tuple(DRUMS),
        [files.Labelled(paths, labels)],
        split_names.NOTHING.words,
        (BANDS, FRAMES, 1),
        pictures,
    )


def pictures(paths: Sequence[Path]) -> np.ndarray:
    """uint8 [N,64,64,1] of WAV files."""
    batches = [paths[i : i + _BATCH] for i in range(0, len(paths), _BATCH)]
    return np.concatenate(
        [np.asarray(_picture(np.stack([read(p) for p in batch]))) for batch in batches]
    )


@jax.jit
def _picture(sounds: jax.Array) -> jax.Array:
    power = spectrogram(sounds, RATE, frame=FRAME, hop=HOP)
    filters = mel_filters(BANDS, FRAME // 2 + 1, RATE, low=LOWEST)
    level = decibels(power @ filters, span=SPAN)
    image = jnp.round((level / SPAN + 1) * 255).astype(jnp.uint8)
    return jnp.swapaxes(image, 1, 2)[:, ::-1, :, None]


def read(path: Path) -> np.ndarray:
    """A WAV file as float32 [SAMPLES] from -1 to 1, its highest sample being 1 or -1.

    Raises `UsageError` if it cannot be read.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        with reading.open_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # unknown chunks
            warnings.filterwarnings("error", "Reached EOF")  # it is cut
            rate, samples = wavfile.read(file)
    except Exception as error:  # of a dozen kinds
        reason = str(error) or type(error).__name__
        raise UsageError(f"{path} cannot be read as a WAV file: {reason}") from error
    if len(samples) == 0:
        raise UsageError(f"{path} has no samples: remove it")
    if not RATES[0] <= rate <= RATES[1]:
        raise UsageError(
            f"{path} says that it has {rate:,} samples a second: expected from "
            f"{RATES[0]:,} to {RATES[1]:,}"
        )
    sound = samples.astype(np.float64).reshape(len(samples), -1)
    if samples.dtype == np.uint8:
        sound -= 128  # which is silence
    if not np.isfinite(sound).all():
        raise UsageError(f"{path} holds samples that are not finite: remove it")
    if samples.dtype.kind == "f":  # whose sum over the channels might overflow
        sound /= max(np.abs(sound).max(), 1)
    sound = sound.mean(1)
    if rate != RATE:
        common = gcd(rate, RATE)
        sound = resample_poly(sound, RATE // common, rate // common)
    loudness = np.abs(sound)
    begin = np.argmax(loudness > _BEGINS * loudness.max())
    sound = sound[begin : begin + SAMPLES]
    highest = max(np.abs(sound).max(), np.finfo(np.float64).tiny)
    padded = np.pad(sound / highest, (0, SAMPLES - len(sound)))
    return padded.astype(np.float32)
