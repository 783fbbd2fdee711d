"""One scene: digits on a background, some over others, with all annotations."""

import enum
import math
from typing import NamedTuple

import numpy as np

from jaxvision.data.made.scenes import drawing
from jaxvision.errors import check, unknown
from jaxvision.skeletons import skeleton

Arrays = dict[str, np.ndarray]

CLASS_NAMES = ("background", *"0123456789")
"""The digit d has the number d + 1, everywhere: 0 is what belongs to no digit."""
KEYPOINTS = drawing.KEYPOINTS
"""The outermost stroke pixels of the digit as it was written, K = 4.  Mirroring an
image exchanges right and left."""
SKELETON = skeleton(KEYPOINTS, limbs=[(0, 1), (1, 2), (2, 3), (3, 0)])
SPLITS = {"train": 0, "test": 1}
LONGEST = 4_096
"""Pixels of a side of a scene."""

_TRIES = 4


class Stream(enum.IntEnum):
    """Random streams, one for each purpose, so that none shifts another."""

    LAYOUT = 0
    BACKGROUND = 1
    NOISE = 2
    MOTION = 3
    PAIR = 4


class Layout(NamedTuple):
    """What scenes look like."""

    height: int = 64
    width: int = 64
    """Of the image in pixels; sides are from 24 to `LONGEST`."""
    channels: int = 3
    """3 for colours, 1 for grey."""
    objects: tuple[int, int] = (1, 6)
    """Fewest and most digits.  The most is M, the rows of `boxes`.  A digit that would
    hide others too much is left out, so that there may be fewer, but one at least."""
    size: tuple[float, float] = (0.3, 0.55)
    """Side of a digit's 28×28 pixels, as a share of the image's shorter side."""
    rotation: float = 30
    """Digits are rotated by up to so many degrees in either direction."""
    max_hidden: float = 0.5
    """Largest share of an object's pixels that others may cover, in a single scene."""
    backgrounds: tuple[str, ...] = drawing.BACKGROUNDS


DEFAULT = Layout()


def scene(
    index: int, layout: Layout = DEFAULT, *, split: str = "train", seed: int = 0
) -> Arrays:
    """One image with its annotations, as in `types.Batch`; M = `layout.objects[1]`.

    `image` uint8 [H,W,C].
    `classes` int32 [M]: 1 to 10 for the digits 0 to 9, and -1 for none; those that come
    later in the list lie over those before.
    `instances` uint8 [M,H,W]: 1 where the object is seen.  Its pixels are those that
    are at least half as opaque as its most opaque one.
    `boxes` float32 [M,4]: the smallest around what is seen of the object.
    `keypoints` float32 [M,4,3]: `KEYPOINTS`; 2 unless another object covers the pixel.
    `segmentation` uint8 [H,W]: the class of the uppermost object, 0 for none.
    `presence` uint8 [11]: of the classes in `classes`; never of the background.
    `crowd` uint8 [M]: zeros.

    Raises `UsageError` for an invalid layout, index, split or seed.
    """
    check_layout(layout, index, split, seed)
    return compose(index, layout, split, seed)


def noisy(
    index: int,
    layout: Layout = DEFAULT,
    *,
    sigma: float = 25,
    split: str = "train",
    seed: int = 0,
) -> Arrays:
    """A scene whose `image` is noisy, and `clean` uint8 [H,W,C], what it was before.

    The noise is independent in each value, close to normal, of standard deviation
    `sigma` grey levels, and clipped with the image to 0..255; 25 is the customary
    strength of denoising benchmarks.
    """
    check((0 <= sigma <= 255, f"sigma must be from 0 to 255 grey levels, got {sigma}"))
    known = scene(index, layout, split=split, seed=seed)
    stream = (seed, SPLITS[split], Stream.NOISE, index)
    image = drawing.add_noise(known["image"], sigma, *stream)
    return {**known, "image": image, "clean": known["image"]}


def compose(index: int, layout: Layout, split: str, seed: int) -> Arrays:
    """`scene` without its checks."""
    draws = draws_of(Stream.LAYOUT, index, layout, split, seed)
    canvas, light = canvas_of(draws, layout, index, split, seed)
    fewest, most = layout.objects
    for _ in range(fewest + draws.integer(most - fewest + 1)):
        digit = Digit.draw(draws, layout, split, light)
        places = [digit.anywhere(draws, layout) for _ in range(_TRIES)]
        # The first place where it does not hide too much, or none.
        any(canvas.paint(digit, *place, layout.max_hidden) for place in places)
    return canvas.annotated(most)


class Digit(NamedTuple):
    """A digit to be painted, without its position."""

    number: int
    """Among those of the split."""
    label: int
    side: float
    degrees: float
    radius: float
    """In pixels; nothing of the digit is farther from its centre."""
    colour: np.ndarray
    known: drawing.Digits

    @classmethod
    def draw(
        cls, draws: drawing.Draws, layout: Layout, split: str, light: bool
    ) -> "Digit":
        known = drawing.digits(split)
        number = draws.integer(len(known.labels))
        side = draws.uniform(*layout.size) * min(layout.height, layout.width)
        return cls(
            number=number,
            label=known.labels[number],
            side=side,
            degrees=draws.uniform(-layout.rotation, layout.rotation),
            radius=known.radii[number] * side / drawing.DIGIT,
            colour=_colour(draws, layout.channels, light),
            known=known,
        )

    def anywhere(self, draws: drawing.Draws, layout: Layout) -> tuple[float, float]:
        """A centre such that the whole digit is in the image."""
        return (
            draws.uniform(self.radius, layout.width - self.radius),
            draws.uniform(self.radius, layout.height - self.radius),
        )


class Canvas:
    """An image that is being painted, and the object that each pixel belongs to."""

    def __init__(self, image: np.ndarray):
        self.image = image  # int32 [H,W,C]
        self.owner = np.full(image.shape[:2], -1, np.int8)
        self.labels: list[int] = []
        self.areas: list[int] = []
        self.seen: list[int] = []
        self.keypoints: list[np.ndarray] = []

    def copy(self) -> "Canvas":
        """A copy; nothing may have been painted yet."""
        return Canvas(self.image.copy())

    def paint(self, digit: Digit, x: float, y: float, max_hidden: float) -> bool:
        """Put a digit over the others, unless it would hide too much of one."""
        left, top = math.floor(x), math.floor(y)
        stamp = drawing.stamp(
            digit.known, digit.number, digit.side, digit.degrees, x - left, y - top
        )
        half = len(stamp.mask) // 2
        left, top = left - half, top - half
        # The fringe of a digit at the edge may lie outside, by a pixel or two.
        height, width = self.owner.shape
        rows = slice(max(top, 0), min(top + 2 * half, height))
        columns = slice(max(left, 0), min(left + 2 * half, width))
        inside = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )

        mask = stamp.mask[inside]
        owner = self.owner[rows, columns]
        hidden = np.bincount(owner[mask] + 1, minlength=len(self.seen) + 1)[1:].tolist()
        seen = [was - lost for was, lost in zip(self.seen, hidden, strict=True)]
        for area, left_over in zip(self.areas, seen, strict=True):
            if left_over < (1 - max_hidden) * area:
                return False

        drawing.blend(self.image[rows, columns], stamp.opacity[inside], digit.colour)
        owner[mask] = len(self.labels)
        self.seen = [*seen, int(mask.sum())]
        self.areas.append(self.seen[-1])
        self.labels.append(digit.label)
        self.keypoints.append(stamp.keypoints + np.array([left, top]))
        return True

    def annotated(self, most: int) -> Arrays:
        """What `scene` returns."""
        count = len(self.labels)
        height, width = self.owner.shape
        arrays: Arrays = {
            "image": self.image.astype(np.uint8),
            "presence": np.zeros(len(CLASS_NAMES), np.uint8),
            # The last one is that of the owner -1.
            "segmentation": np.array([*(d + 1 for d in self.labels), 0], np.uint8)[
                self.owner
            ],
            "boxes": np.zeros((most, 4), np.float32),
            "classes": np.full(most, -1, np.int32),
            "crowd": np.zeros(most, np.uint8),
            "instances": np.zeros((most, height, width), np.uint8),
            "keypoints": np.zeros((most, len(KEYPOINTS), 3), np.float32),
        }
        arrays["instances"][:count] = self.owner == np.arange(count)[:, None, None]
        for m, (label, seen) in enumerate(zip(self.labels, self.seen, strict=True)):
            if seen == 0:
                continue
            arrays["classes"][m] = label + 1
            arrays["presence"][label + 1] = 1
            rows = np.flatnonzero(arrays["instances"][m].any(1))
            columns = np.flatnonzero(arrays["instances"][m].any(0))
            arrays["boxes"][m] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            points = self.keypoints[m]
            x, y = np.clip(points.astype(int), 0, (width - 1, height - 1)).T
            arrays["keypoints"][m, :, :2] = points
            arrays["keypoints"][m, :, 2] = np.where(self.owner[y, x] > m, 1, 2)
        return arrays


def draws_of(
    purpose: int, index: int, layout: Layout, split: str, seed: int
) -> drawing.Draws:
    words = 32 + layout.objects[1] * (16 + 2 * _TRIES)  # more than is ever drawn
    return drawing.Draws(seed, SPLITS[split], purpose, index, words=words)


def canvas_of(
    draws: drawing.Draws, layout: Layout, index: int, split: str, seed: int
) -> tuple[Canvas, bool]:
    """A background, and whether it is a light one."""
    kind = layout.backgrounds[draws.integer(len(layout.backgrounds))]
    light = draws.integer(2) == 1
    colour = _colour(draws, layout.channels, not light)
    shape = (layout.height, layout.width, layout.channels)
    stream = (seed, SPLITS[split], Stream.BACKGROUND, index)
    return Canvas(drawing.background(kind, draws, colour, shape, *stream)), light


def _colour(draws: drawing.Draws, channels: int, dark: bool) -> np.ndarray:
    """Dark and light ones differ by 64 levels or more in every channel."""
    levels = [draws.integer(96) for _ in range(channels)]
    return np.array(levels, np.int32) + (0 if dark else 160)


def check_layout(
    layout: Layout, index: int = 0, split: str = "train", seed: int = 0
) -> None:
    shorter = min(layout.height, layout.width)
    (fewest, most), (small, large) = layout.objects, layout.size
    for kind in layout.backgrounds:
        if kind not in drawing.BACKGROUNDS:
            raise unknown("background", kind, drawing.BACKGROUNDS)
    if split not in SPLITS:
        raise unknown("split of scenes", split, SPLITS)
    check(
        (shorter >= 24 and max(layout.height, layout.width) <= LONGEST,
         f"scenes have 24 pixels or more a side, and {LONGEST:,} at most, got "
         f"{layout.height}×{layout.width}"),
        (layout.channels in (1, 3),
         f"scenes have 1 or 3 channels, got {layout.channels}"),
        (0 <= fewest <= most and 1 <= most <= 30,
         f"objects must be the fewest and the most, up to 30, got {layout.objects}"),
        (0.05 <= small <= large <= 0.7,
         "size must be the smallest and the largest share of the shorter side, from "
         f"0.05 to 0.7, got {layout.size}"),
        (layout.rotation >= 0,
         f"rotation must not be negative, got {layout.rotation}"),
        (0 <= layout.max_hidden <= 1,
         f"max_hidden must be from 0 to 1, got {layout.max_hidden}"),
        (len(layout.backgrounds) > 0, "there are no backgrounds to choose from"),
        (index >= 0, f"index must not be negative, got {index}"),
        (seed >= 0, f"seed must not be negative, got {seed}"),
    )  # fmt: skip
