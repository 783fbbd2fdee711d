"""Names are drawn as they are, whatever they are, and in whatever environment."""

import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from jaxvision import visualise
from jaxvision.measures import Measure
from jaxvision.visualise import style

NAMES = ("$x^$", r"a\$_{$", "_hidden", "gr\udcffn")
GREY = np.zeros((8, 8, 1), np.uint8)
COLOURS = {name: (0, 0, 0) for name in NAMES}
PROBABILITIES = np.full((4, 4), 0.25, np.float32)


def rows(name):
    return [
        {"step": 1, "epoch": 1, f"train/{name}": 2.0, f"validation/{name}": 3.0},
        {"step": 2, "epoch": 2, f"train/{name}": 1.0, f"validation/{name}": 2.0},
    ]


FIGURES = {
    "confusion": lambda: visualise.confusion(np.eye(4, dtype=int), NAMES),
    "many classes": lambda: visualise.confusion(
        np.ones((80, 80), int), [f"{i}{NAMES[i % 4]}" for i in range(80)]
    ),
    "predictions": lambda: visualise.predictions(
        np.stack([GREY] * 4), np.arange(4), PROBABILITIES, NAMES
    ),
    "card": lambda: visualise.card(
        dict.fromkeys(NAMES[:2], np.ones(4, int)),
        {k: [GREY] for k in range(4)},
        NAMES,
        title=NAMES[0],
        facts=NAMES,
    ),
    "precision and recall": lambda: visualise.precision_recall(
        np.full((4, 5), 0.5), dict.fromkeys(NAMES, 0.5)
    ),
    "shares": lambda: visualise.shares_by_class(dict.fromkeys(NAMES, 0.5), NAMES[0]),
    "comparison": lambda: visualise.comparison(
        {name: [GREY] * 4 for name in NAMES}, NAMES, colours=COLOURS, title=NAMES[0]
    ),
    "augmentations": lambda: visualise.augmentations(
        {name: {key: [GREY] for key in NAMES} for name in NAMES}, title=NAMES[0]
    ),
    "findings": lambda: visualise.findings(
        [visualise.Cell([GREY], [list(NAMES)])], title=NAMES[0], note=NAMES[1]
    ),
    "curves": lambda: visualise.curves(
        rows(NAMES[0]), [Measure(NAMES[0], "$^$", better="lower")]
    ),
    "compare": lambda: visualise.compare({name: rows("loss") for name in NAMES}),
    "clouds": lambda: visualise.clouds(
        {
            name: visualise.Cloud(
                dict.fromkeys(NAMES, np.eye(2)), {name: (1.0, 2.0, 3.0)}, name, name
            )
            for name in NAMES
        }
    ),
    "trajectories": lambda: visualise.trajectories(
        dict.fromkeys(NAMES, np.eye(2)),
        np.arange(12.0).reshape(3, 4),
        (0, 1, 0, 1),
        captions=dict.fromkeys(NAMES, NAMES[0]),
    ),
    "receptive field": lambda: visualise.receptive_field(
        dict.fromkeys(NAMES, visualise.Seen(np.eye(8), (-2, 1, 5, 20), 3.0))
    ),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_no_name_is_mathematics_and_none_ends_the_drawing(kind):
    figure = FIGURES[kind]()
    FigureCanvasAgg(figure).draw()
    texts = figure.findobj(Text)
    drawn = [text._preprocess_math(text.get_text()) for text in texts]
    assert not any(is_math for _, is_math in drawn)
    words = "\n".join(text for text, _ in drawn)
    assert "$x^$" in words, words
    assert "\udcff" not in words


def test_images_are_annotated_with_any_name():
    for name in NAMES:
        visualise.captioned(GREY, [name])
        example = {"image": GREY, "boxes": np.ones((1, 4)), "classes": np.zeros(1, int)}
        visualise.overlay(example, [name])


def test_what_is_no_character_is_replaced():
    assert style.legible("gr\udcff\ud800n é 猫") == "gr\ufffd\ufffdn é 猫"
    assert style.plain("5 $") == r"5 \$"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["module://nowhere.backend", "nonsense", "svg"])
def test_drawing_does_not_depend_on_the_backend(tmp_path, backend):
    """That a notebook hands down, for example; one that exists is left as it is."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from jaxvision import visualise\n"
        "rows = [{'step': 1, 'epoch': 1, 'train/loss': 2., 'validation/loss': 3.}]\n"
        "visualise.save(visualise.curves(rows), Path(sys.argv[1], 'a.png'))\n"
        "import matplotlib\n"
        "print(os.environ['MPLBACKEND'], matplotlib.rcParams['backend'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"MPLBACKEND": backend}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    given, chosen = done.stdout.split()
    assert given == backend and (chosen == "svg") == (backend == "svg")
    assert (tmp_path / "a.png").exists()
