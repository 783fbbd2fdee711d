"""Scenes as the splits of a data set."""

import functools
import re

import numpy as np

from jaxvision.data.made.scenes.composition import (
    CLASS_NAMES,
    DEFAULT,
    SKELETON,
    Arrays,
    Layout,
    check_layout,
    scene,
)
from jaxvision.data.names import Name
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError, check
from jaxvision.types import MAPS

SIZES = (4_096, 1_024)
"""Training and test scenes, unless the name says otherwise."""

MOST = 10_000_000
"""Scenes of a split."""

_N = "([0-9]{1,9})"
_FORM = re.compile(f"scenes(?::{_N}x{_N}(?:x{_N})?)?(?::{_N}(?::{_N})?)?(?::(apart))?")

APART = DEFAULT._replace(objects=(1, 4), size=(0.25, 0.45), max_hidden=0.05)
"""The layout of `scenes:…:apart`: fewer and smaller digits, none of which hides
another, so that all can be found."""


def load(name: Name) -> Splits:
    """The set called `scenes[:HxW[xC]][:TRAIN[:TEST]][:apart]`.

    `scenes:128x128x3:20000:1000` has so many training and test scenes; where only the
    first number is given, the test split has a quarter of it.  The layout has its own
    defaults, by which digits are heaped, or is that of `APART`.

    Each example has `image`, `presence`, `segmentation`, `boxes`, `classes`, `crowd`,
    `instances` and `keypoints`, as `scene` returns them.  In memory a scene of 64×64×3
    takes 41 kB, most of it `instances`; a set that is too large can be streamed, and is
    then drawn anew in each epoch.
    """
    match = _FORM.fullmatch(name.text)
    if match is None:
        raise UsageError(
            f"cannot read {name.text!r}: write scenes, scenes:HxW, scenes:HxWxC or "
            "scenes:HxWxC:TRAIN:TEST, such as scenes:64x64x3:8000:1000, and :apart "
            "behind it for digits that do not hide each other"
        )
    height, width, channels, train, test, apart = match.groups()
    layout = APART if apart else DEFAULT
    if height:
        layout = layout._replace(
            height=int(height),
            width=int(width),
            channels=int(channels or DEFAULT.channels),
        )
    sizes = {"train": int(train or SIZES[0])}
    sizes["test"] = int(test or max(sizes["train"] // 4, 1))
    check_layout(layout)
    check(
        (all(sizes.values()), f"{name.text!r}: a split must have one scene or more"),
        (
            max(sizes.values()) <= MOST,
            f"{name.text!r}: a split has at most {MOST:,} scenes",
        ),
    )

    def source(split: str) -> Source:
        read = functools.partial(_stack, sizes[split], layout, split)
        return Source(
            name=f"{name}:{split}",
            size=sizes[split],
            image_shape=(layout.height, layout.width, layout.channels),
            class_names=CLASS_NAMES,
            read=read,
            targets=functools.partial(read, without=("image", *MAPS)),
            encoded=functools.partial(_encoded, layout=layout, split=split),
            maps=functools.partial(_maps, layout=layout, split=split),
            skeleton=SKELETON,
            annotations=tuple(scene(0, layout, split=split)),
            choice="drawn apart, of the test digits" if split == "test" else "",
        )

    return Splits(train=source("train"), test=source("test"))


def _stack(
    size: int, layout: Layout, split: str, without: tuple[str, ...] = ()
) -> Arrays:
    first = scene(0, layout, split=split)
    arrays = {
        name: np.empty((size, *array.shape), array.dtype)
        for name, array in first.items()
        if name not in without
    }
    for i in range(size):
        known = scene(i, layout, split=split)
        for name, array in arrays.items():
            array[i] = known[name]
    return arrays


def _encoded(i: int, *, layout: Layout, split: str) -> bytes:
    import cv2

    image = scene(i, layout, split=split)["image"]
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def _maps(i: int, *, layout: Layout, split: str) -> Arrays:
    known = scene(i, layout, split=split)
    return {name: known[name] for name in MAPS}
