"""What an image is annotated with, drawn onto it."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from jaxvision.errors import check
from jaxvision.types import UNKNOWN
from jaxvision.visualise import fonts, style

SIDE = 480
"""Pixels of the longer side of what is drawn, by default."""

_ALPHA = 0.5
_GREY = (110, 110, 110)
_LEAST = 9
"""Pixels of letters, down to which long texts are made smaller."""
_FEW = 6
"""Objects of an image up to which letters are large."""


def overlay(
    example: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    side: int = SIDE,
    notes: Sequence[str] | None = None,
    limbs: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """The image of an example with its annotations, uint8 [S,T,3].

    example: a row of a `types.Batch`, as `image` uint8 [H,W,C] and any of
    `segmentation`, `instances`, `boxes`, `classes`, `crowd`, `keypoints`, `presence`.
    A `label` is not drawn, and an image with nothing else is returned as it is.
    side: the longer side of the result; small images are enlarged pixel by pixel.
    notes: what is written at each of the M boxes, in place of the name of its class;
    nothing where it is empty.

    limbs: pairs of keypoints that are joined, each in a colour of its own, where both
    are labelled (`skeletons.Skeleton`).

    Masks are half transparent with an outline, what is unknown is grey and so are
    crowds; keypoints are filled where they are visible and rings where they are hidden.
    Each class has the same colour in every picture, and so has each limb.

    Raises `UsageError` for an image that is none and numbers that are no classes.
    """
    image = example["image"]
    check(
        style.image_rule(image, "image"),
        (
            bool((example.get("classes", np.zeros(0)) < len(class_names)).all()),
            f"classes must be below {len(class_names)}, one for each class name",
        ),
    )
    if not example.keys() - {"image", "label"}:
        return image
    pixels = np.broadcast_to(image, (*image.shape[:2], 3)).astype(float)
    if "segmentation" in example:
        pixels = _with_segmentation(pixels, example["segmentation"], len(class_names))
    objects = np.flatnonzero(example.get("classes", np.zeros(0)) >= 0).tolist()
    if "instances" in example:
        for m in objects:
            shown = example["instances"][m].astype(bool)
            pixels[shown] = _mixed(pixels[shown], _colour_of(example, m))

    height, width = image.shape[:2]
    canvas = _enlarged(pixels.round().astype(np.uint8), side)
    size = canvas.size
    draw = ImageDraw.Draw(canvas)
    size_of_text = max(side // (20 if len(objects) <= _FEW else 30), _LEAST)
    thick = max(side // 160, 1)
    scale = size / np.array([width, height])
    for m in objects:
        _draw_object(draw, example, m, scale, thick)
        if "instances" in example:
            mask = example["instances"][m]
            _draw_outline(draw, mask, _colour_of(example, m), scale, thick)
        if "keypoints" in example:
            _draw_keypoints(
                draw,
                example["keypoints"][m],
                limbs,
                _colour_of(example, m),
                scale,
                thick,
            )
    for m in objects if "boxes" in example else ():  # over all that is drawn
        text = _name(example, m, class_names) if notes is None else notes[m]
        left, top = example["boxes"][m, :2] * scale
        if text:
            _write(draw, (left, top), text, _colour_of(example, m), size_of_text)
    if "presence" in example:
        names = [
            name if there == 1 else f"{name} ?"
            for name, there in zip(class_names, example["presence"], strict=True)
            if there in (1, UNKNOWN)
        ]
        _write(
            draw, (0, size[1]), ", ".join(names) or "none", (30, 30, 30), size_of_text
        )
    return np.asarray(canvas)


def captioned(
    image: np.ndarray, lines: Sequence[str], *, side: int = SIDE
) -> np.ndarray:
    """The image, uint8 [H,W,C], with lines of text in its lower left corner.

    side: the longer side of the result, uint8 [S,T,3].
    """
    check(style.image_rule(image, "image"))
    canvas = _enlarged(np.broadcast_to(image, (*image.shape[:2], 3)), side)
    draw = ImageDraw.Draw(canvas)
    below = float(canvas.size[1])
    for line in reversed(lines):
        below -= _write(draw, (0, below), line, (30, 30, 30), max(side // 12, 9)) + 3
    return np.asarray(canvas)


def class_colour(number: int) -> tuple[int, int, int]:
    """RGB of a class: those of `style` first, then hues at the golden angle."""
    if number < len(style.CLASSES):
        code = style.CLASSES[number]
        return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)
    hue = number * 0.618034 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (number % 2), 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """Small images are enlarged pixel by pixel, large ones made smaller smoothly."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    smooth = Image.Resampling.BICUBIC if scale < 3 else Image.Resampling.NEAREST
    return Image.fromarray(pixels).resize(size, smooth)


def _with_segmentation(
    pixels: np.ndarray, numbers: np.ndarray, classes: int
) -> np.ndarray:
    table = np.tile(np.array(_GREY, float), (UNKNOWN + 1, 1))
    table[:classes] = [class_colour(k) for k in range(min(classes, UNKNOWN))]
    return _mixed(pixels, table[numbers])


def _mixed(pixels: np.ndarray, colour: Any) -> np.ndarray:
    return (1 - _ALPHA) * pixels + _ALPHA * np.asarray(colour, float)


def _colour_of(example: Mapping[str, np.ndarray], m: int) -> tuple[int, int, int]:
    if "crowd" in example and example["crowd"][m]:
        return _GREY
    return class_colour(int(example["classes"][m]))


def _name(example: Mapping[str, np.ndarray], m: int, class_names: Sequence[str]) -> str:
    name = style.shorten(class_names[int(example["classes"][m])], 16)
    crowd = "crowd" in example and example["crowd"][m]
    return f"{name} (crowd)" if crowd else name


def _draw_object(
    draw: ImageDraw.ImageDraw,
    example: Mapping[str, np.ndarray],
    m: int,
    scale: np.ndarray,
    thick: int,
) -> None:
    paint = _colour_of(example, m)
    if "boxes" in example:
        left, top, right, bottom = example["boxes"][m] * np.tile(scale, 2)
        # The outline covers the outermost pixels inside the box.
        corners = (left, top, max(right - 1, left), max(bottom - 1, top))
        draw.rectangle(corners, outline=paint, width=thick)


def _draw_outline(
    draw: ImageDraw.ImageDraw,
    mask: np.ndarray,
    paint: tuple[int, int, int],
    scale: np.ndarray,
    thick: int,
) -> None:
    """Around the pixels of a mask, along their edges."""
    import cv2

    # Twice as large with a border, contours follow the edges and not the centres.
    seen = np.pad((mask > 0).astype(np.uint8), 1).repeat(2, 0).repeat(2, 1)
    contours, _ = cv2.findContours(seen, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        corners = (np.rint((contour[:, 0] - 1.5) / 2) * scale[None]).tolist()
        draw.line([tuple(corner) for corner in (*corners, corners[0])], paint, thick)


def _draw_keypoints(
    draw: ImageDraw.ImageDraw,
    keypoints: np.ndarray,
    limbs: Sequence[tuple[int, int]],
    paint: tuple[int, int, int],
    scale: np.ndarray,
    thick: int,
) -> None:
    places = [tuple(place) for place in (keypoints[:, :2] * scale[None]).tolist()]
    labelled = keypoints[:, 2] > 0
    for number, (a, b) in enumerate(limbs):
        if labelled[a] and labelled[b]:
            draw.line([places[a], places[b]], class_colour(number), thick + 1)
    for (x, y), visible in zip(places, keypoints[:, 2], strict=True):
        if visible:
            radius = 1.5 * thick
            circle = (x - radius, y - radius, x + radius, y + radius)
            fill = paint if visible == 2 else None
            draw.ellipse(circle, fill=fill, outline="white", width=max(thick // 2, 1))


def _write(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    paint: tuple[int, int, int],
    size: int,
) -> float:
    """White on a patch of the colour, above the corner where there is room.

    Returns the height of the text in pixels.
    """
    text = style.legible(text)
    font = fonts.for_pillow(text, size)
    _, _, width, height = draw.textbbox((0, 0), text, font=font)
    room = draw.im.size[0] - 5
    if width > room and size > _LEAST:  # once, since widths follow sizes
        font = fonts.for_pillow(text, max(int(size * room / width), _LEAST))
        _, _, width, height = draw.textbbox((0, 0), text, font=font)
    x = min(max(corner[0], 0), max(draw.im.size[0] - width - 4, 0))
    y = corner[1] - height - 2
    y = corner[1] if y < 0 else y
    draw.rectangle((x, y, x + width + 3, y + height + 2), fill=paint)
    draw.text((x + 2, y), text, fill="white", font=font)
    return height
