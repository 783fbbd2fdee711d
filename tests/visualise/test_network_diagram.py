import re
from xml.etree import ElementTree

import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError

LAYERS = {"image": (32, 32, 1), "c1": (28, 28, 6), "s2": (14, 14, 6), "f6": (84,)}


def read(layers):
    return ElementTree.fromstring(visualise.svg(visualise.volumes(layers, "LeNet")))


def faces(drawing, kind):
    """The corners of each face of a kind."""
    found = drawing.iter("{http://www.w3.org/2000/svg}polygon")
    return [
        [tuple(map(float, point.split(","))) for point in each.get("points").split()]
        for each in found
        if kind in each.get("class")
    ]


def height(corners):
    return max(y for _, y in corners) - min(y for _, y in corners)


def test_each_layer_is_a_volume_with_its_name_and_size():
    drawing = read(LAYERS)
    text = " ".join(drawing.itertext())
    for name, shape in LAYERS.items():
        assert name in text and "×".join(map(str, shape)) in text
    fronts = faces(drawing, "front")
    assert len(fronts) == 4 and len(faces(drawing, "side")) == 3
    image, c1, s2, _ = map(height, fronts)
    assert image > c1 > s2
    widths = [max(x for x, _ in f) - min(x for x, _ in f) for f in fronts]
    assert widths[1] == widths[2] > widths[0]
    lefts = [min(x for x, _ in f) for f in fronts]
    assert lefts == sorted(lefts)


def test_nothing_leaves_the_picture():
    drawing = read({**LAYERS, "deep": (1, 1, 4096), "logits": (1000,)})
    *_, width, height = map(float, drawing.get("viewBox").split())
    numbers = [
        tuple(map(float, point.split(",")))
        for points in re.findall(
            r'points="([^"]*)"', ElementTree.tostring(drawing, "unicode")
        )
        for point in points.split()
    ]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in numbers)


def test_bad_layers_are_named():
    with pytest.raises(UsageError, match="no layers"):
        visualise.volumes({}, "nothing")
    with pytest.raises(UsageError, match=r"layer a must be .* got \(1, 2\)"):
        visualise.volumes({"a": (1, 2)}, "odd")
