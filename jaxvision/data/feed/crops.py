"""Which part of an image is taken, before it is resized and before it is decoded.

Annotations move with the image: boxes and keypoints here, masks in `streaming`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxvision.data.feed.resizing import Method, check_method
from jaxvision.data.files.decoding import DecodeError
from jaxvision.errors import UsageError, check
from jaxvision.recipes import CROPS

Size = int | tuple[int, int]
"""Height and width in pixels, or the side of a square."""


class Box(NamedTuple):
    """A rectangle in pixels.  It may be larger than the image (`letterbox`).

    Whole numbers, except where it tells which part of an image a `resized_crop` took.
    """

    top: float
    left: float
    height: float
    width: float

    def corners(self) -> tuple[float, float, float, float]:
        """x_min, y_min, x_max, y_max, as in a `types.Batch`."""
        return self.left, self.top, self.left + self.width, self.top + self.height


class Crop(NamedTuple):
    """How images of any size become images of one size."""

    size: tuple[int, int]
    """Height and width of what comes out."""
    choose: Callable[[int, int, Iterator[float]], Box]
    """`(height, width, draws) -> Box`: what is taken of an image of that size, and then
    resized.  `draws` are uniform in [0, 1); at most `DRAWS` may be taken."""
    method: Method = "bilinear"
    """How it is resized, antialiased as Pillow does: `bilinear`, or `bicubic`, with
    which many published weights were trained; see `resizing`."""
    resized: Callable[[int, int], tuple[int, int]] | None = None
    """`(height, width) ->` the size to which the whole image is resized, before
    `choose` takes a box of `size` from that; None: what `choose` takes is resized."""
    around: Callable[[Mapping[str, np.ndarray]], "Crop"] | None = None
    """`annotations ->` the crop of an image that is annotated so, by the names of
    `types.Batch` without the axis of the examples; None: it depends on none, as that of
    images which have no annotations."""

    def of(self, annotations: Mapping[str, np.ndarray]) -> "Crop":
        """What is taken of an image with these annotations."""
        return self if self.around is None else self.around(annotations)


DRAWS = 22
"""Random numbers that a crop may take; `random_resized_crop` needs at most as many: two
for each of ten attempts, and two for the place."""

MIN_VISIBLE = 0.1
"""Share of the area of its box that must be left for an object to survive a crop."""


@CROPS.recorded
def random_resized_crop(
    size: Size,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    method: Method = "bilinear",
) -> Crop:
    """A box of random area and shape.  Szegedy et al. 2015, section 6.

    As in torchvision: the area is uniform in `scale` times the image's, the ratio of
    width to height log-uniform in `ratio`, the place uniform.  Of ten such boxes the
    first that fits is taken, and else the largest in the centre within `ratio`.
    """
    check(
        (
            0 < scale[0] <= scale[1] <= 1,
            f"scale must be two shares of the area in order, got {scale}",
        ),
        (
            0 < ratio[0] <= ratio[1],
            f"ratio must be two positive numbers in order, got {ratio}",
        ),
    )
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        for _ in range(10):
            share = scale[0] + next(draws) * (scale[1] - scale[0])
            area = height * width * share
            shape = math.exp(log_low + next(draws) * (log_high - log_low))
            box_width = round(math.sqrt(area * shape))
            box_height = round(math.sqrt(area / shape))
            if 0 < box_width <= width and 0 < box_height <= height:
                return Box(
                    top=int(next(draws) * (height - box_height + 1)),
                    left=int(next(draws) * (width - box_width + 1)),
                    height=box_height,
                    width=box_width,
                )
        box_width = min(width, max(round(height * ratio[1]), 1))
        box_height = min(height, max(round(width / ratio[0]), 1))
        return _centred(height, width, box_height, box_width)

    return _crop(size, choose, method)


@CROPS.recorded
def central_crop(
    size: Size, *, resize: float = 256 / 224, method: Method = "bilinear"
) -> Crop:
    """The largest centred box of the aspect ratio of `size`, its sides over `resize`.

    For squares it is what one gets by first resizing the shorter side to `resize`·S and
    then cutting S×S out of the centre, as for 224 of 256.
    """
    check((resize >= 1, f"resize must be at least 1, got {resize}"))
    target_height, target_width = side_pair(size)

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        del draws
        scale = min(height / target_height, width / target_width) / resize
        box_height = max(round(target_height * scale), 1)
        box_width = max(round(target_width * scale), 1)
        return _centred(height, width, box_height, box_width)

    return _crop(size, choose, method)


@CROPS.recorded
def resized_crop(
    size: Size, *, resize: int, squash: bool = False, method: Method = "bilinear"
) -> Crop:
    """The shorter side resized to `resize` pixels, and `size` cut out of the centre.

    If it is to `squash` them, both sides are.  Bit for bit what torchvision and timm
    make of an image for their weights, by their rounding and Pillow's resizing;
    `central_crop` takes the box first, which costs less and gives pixels between these.
    """
    height, width = side_pair(size)
    check(
        (
            resize >= max(height, width),
            f"resize must be at least the {max(height, width)} pixels that are cut "
            f"out, got {resize}",
        )
    )

    def resized(height: int, width: int) -> tuple[int, int]:
        if squash:
            return resize, resize
        if height < width:
            return resize, int(resize * width / height)
        return int(resize * height / width), resize

    def choose(whole_height: int, whole_width: int, draws: Iterator[float]) -> Box:
        del draws
        top, left = round((whole_height - height) / 2), round((whole_width - width) / 2)
        return Box(top, left, height, width)

    return _crop(size, choose, method)._replace(resized=resized)


@CROPS.recorded
def stretch(size: Size, *, method: Method = "bilinear") -> Crop:
    """The whole image, resized without keeping its aspect ratio."""

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        del draws
        return Box(0, 0, height, width)

    return _crop(size, choose, method)


@CROPS.recorded
def letterbox(size: Size, *, method: Method = "bilinear") -> Crop:
    """The whole image with its aspect ratio, centred, and black on two of the sides.

    The class of the added pixels in a `segmentation` is 255: they do not count.
    """
    target_height, target_width = side_pair(size)

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        del draws
        scale = max(height / target_height, width / target_width)
        box_height = max(round(target_height * scale), height)
        box_width = max(round(target_width * scale), width)
        return _centred(height, width, box_height, box_width)

    return _crop(size, choose, method)


@CROPS.recorded
def random_scaled_crop(
    size: Size,
    *,
    scale: tuple[float, float] = (0.5, 2.0),
    method: Method = "bilinear",
) -> Crop:
    """A window of the image, which was made larger or smaller by a random factor.

    The factor is uniform in `scale`, and the place of the window uniform within the
    image.  Where the image is smaller than the window it lies at a random place in it,
    and what is added is black; its class in a `segmentation` is 255, and does not
    count.  Chen et al. 2017, https://arxiv.org/abs/1706.05587, section 4.1.
    """
    check(
        (
            0 < scale[0] <= scale[1],
            f"scale must be two positive factors in order, got {scale}",
        )
    )
    target_height, target_width = side_pair(size)

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        factor = scale[0] + next(draws) * (scale[1] - scale[0])
        box_height = max(round(target_height / factor), 1)
        box_width = max(round(target_width / factor), 1)
        top, left = (
            # From 0 to what is left over, which is negative in a smaller image.
            math.floor(next(draws) * (abs(over) + 1)) * (1 if over > 0 else -1)
            for over in (height - box_height, width - box_width)
        )
        return Box(top, left, box_height, box_width)

    return _crop(size, choose, method)


@CROPS.recorded
def object_crop(
    size: Size,
    *,
    padding: float = 1.25,
    zoom: tuple[float, float] = (1.0, 1.0),
    method: Method = "bilinear",
) -> Crop:
    """What is around the first object of an image, as networks see it that look at one.

    The object's box, which is made wider or higher about its centre until it has the
    aspect ratio of `size`, and then `padding` times as large.  What is beyond the image
    is black.  An image without an object, or without annotations, is taken whole, as if
    it were one.  Xiao et al. 2018, https://arxiv.org/abs/1804.06208, section 3.

    Args:
      padding: sides of what is taken by those of the box.
      zoom: a further factor that is drawn, the smallest and the largest; uniform.
    """
    check(
        (padding > 0, f"padding must be a positive factor, got {padding}"),
        (
            0 < zoom[0] <= zoom[1],
            f"zoom must be two positive factors in order, got {zoom}",
        ),
    )
    target_height, target_width = side_pair(size)

    def taken(box: Box, draws: Iterator[float]) -> Box:
        factor = padding
        if zoom[0] < zoom[1]:
            factor *= zoom[0] + next(draws) * (zoom[1] - zoom[0])
        scale = factor * max(box.height / target_height, box.width / target_width)
        height = max(round(target_height * scale), 1)
        width = max(round(target_width * scale), 1)
        return Box(
            round(box.top + (box.height - height) / 2),
            round(box.left + (box.width - width) / 2),
            height,
            width,
        )

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        return taken(Box(0, 0, height, width), draws)

    def around(annotations: Mapping[str, np.ndarray]) -> Crop:
        if "boxes" not in annotations:
            raise UsageError(
                "object_crop is around an object, and the images have no boxes, only "
                f"{', '.join(sorted(annotations)) or 'pixels'}: take a set of objects, "
                "or another crop, such as letterbox"
            )
        left, top, right, bottom = annotations["boxes"][0].tolist()
        if right <= left or bottom <= top:  # there is none
            return crop
        box = Box(top, left, bottom - top, right - left)
        return crop._replace(choose=lambda height, width, draws: taken(box, draws))

    crop = _crop(size, choose, method)
    return crop._replace(around=around)


@CROPS.recorded
def padded(size: Size, *, scale: float = 1, method: Method = "bilinear") -> Crop:
    """The whole image in the upper left corner, and black beyond.

    The class of the added pixels in a `segmentation` is 255: they do not count.

    Args:
      scale: how many times as large as the file's the image is; 1: as it is.

    Its `choose` raises `DecodeError` for an image that is larger then.
    """
    check((scale > 0, f"scale must be positive, got {scale}"))
    target_height, target_width = side_pair(size)

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        del draws
        box = Box(0, 0, round(target_height / scale), round(target_width / scale))
        if height > box.height or width > box.width:
            raise DecodeError(
                f"it is {height}×{width} (height × width) and larger than the "
                f"{box.height}×{box.width} that it is padded to: pad to more, or "
                "resize it, for example with data.letterbox"
            )
        return box

    return _crop(size, choose, method)


@CROPS.recorded
def uncropped(size: Size) -> Crop:
    """The whole image, unchanged: for images that all have this height and width.

    Its `choose` raises `DecodeError` for an image of another size.
    """
    wanted = side_pair(size)

    def choose(height: int, width: int, draws: Iterator[float]) -> Box:
        del draws
        if (height, width) != wanted:
            raise DecodeError(
                f"it is {height}×{width} (height × width) and not {wanted[0]}×"
                f"{wanted[1]}, and there is no crop"
            )
        return Box(0, 0, height, width)

    return Crop(wanted, choose)


def is_random(crop: Crop) -> bool:
    """Whether the crop draws random numbers, which an evaluation does not have."""
    try:
        crop.choose(*crop.size, iter(()))
    except StopIteration:
        return True
    return False


def move_objects(
    targets: dict[str, np.ndarray], box: Box, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """The objects of one image after `box` of it has been resized to `size`.

    Boxes are clipped.  Objects that keep less than `MIN_VISIBLE` of their area are
    dropped, and so are keypoints outside.  Of the targets `boxes`, `classes`, `crowd`
    and `keypoints` are changed, and others returned as they are.
    """
    moved = dict(targets)
    scale = np.array([size[1] / box.width, size[0] / box.height], np.float32)
    origin = np.array([box.left, box.top], np.float32)
    limit = np.array([size[1], size[0]], np.float32)
    if "keypoints" in targets:
        points, visibility = np.split(targets["keypoints"], [2], axis=-1)
        points = (points - origin) * scale
        inside = np.all((points >= 0) & (points <= limit), axis=-1, keepdims=True)
        known = inside & (visibility > 0)
        keypoints = np.concatenate([points, visibility], axis=-1)
        moved["keypoints"] = np.where(known, keypoints, 0).astype(np.float32)
    if "boxes" in targets:
        corners = (targets["boxes"].reshape(-1, 2, 2) - origin) * scale
        clipped = np.clip(corners, 0, limit)
        area, visible = (
            np.prod(both[:, 1] - both[:, 0], axis=-1) for both in (corners, clipped)
        )
        kept = (targets["classes"] >= 0) & (visible > 0)
        kept &= visible >= MIN_VISIBLE * area
        moved["boxes"] = np.where(kept[:, None], clipped.reshape(-1, 4), 0)
        moved["classes"] = np.where(kept, targets["classes"], -1)
        for name in ("crowd", "keypoints"):
            if name in moved:
                absent = ~kept.reshape(-1, *[1] * (moved[name].ndim - 1))
                moved[name] = np.where(absent, 0, moved[name]).astype(moved[name].dtype)
    return moved


def _crop(
    size: Size, choose: Callable[[int, int, Iterator[float]], Box], method: Method
) -> Crop:
    check_method(method)
    return Crop(side_pair(size), choose, method)


def side_pair(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    check((min(height, width) >= 1, f"image size must be positive, got {size}"))
    return height, width


def _centred(height: int, width: int, box_height: int, box_width: int) -> Box:
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return Box(top, left, box_height, box_width)
