import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.visualise import style

NAMES = ["cat", "dog", "eel"]
COUNTS = {"train": np.array([8, 4, 0]), "test": np.array([2, 1, 1])}


def image(value=0, shape=(4, 4, 3)):
    return np.full(shape, value, np.uint8)


def examples():
    return {0: [image(1), image(2)], 1: [image(3)], 2: []}


def card(counts=COUNTS, shown=None, names=NAMES, **options):
    shown = examples() if shown is None else shown
    return visualise.card(counts, shown, names, **({"title": "pets"} | options))


def words(figure):
    axes = [text.get_text() for axis in figure.axes for text in axis.texts]
    return [text.get_text() for text in figure.texts] + axes


def places(figure):
    """Value of each image, and where its middle lies: to the right and down."""
    found = {}
    for shown in figure.axes[1].images:
        left, right, bottom, top = shown.get_extent()
        found[int(shown.get_array().max())] = (left + right) / 2, (top + bottom) / 2
    return found


def test_bars_are_the_first_split_and_marks_the_second_at_the_same_mean():
    chart = card().axes[0]
    assert [bar.get_height() for bar in chart.patches] == [8, 4, 0]
    (marks,) = chart.collections
    heights = [segment[0][1] for segment in marks.get_segments()]
    assert heights == [6, 3, 3]  # times 12 / 4
    legend = [text.get_text() for text in chart.get_legend().get_texts()]
    assert legend == ["train", "test, scaled × 3"]
    assert [label.get_text() for label in chart.get_xticklabels()] == NAMES


def test_one_split_alone_and_a_split_without_examples():
    assert not card({"train": COUNTS["train"]}).axes[0].collections
    card({"train": COUNTS["train"], "test": np.zeros(3, int)})
    card({"train": np.zeros(3, int)}, {})


def test_rows_are_classes_and_columns_examples():
    figure = card()
    at = places(figure)
    assert at.keys() == {1, 2, 3}
    assert at[1][1] == at[2][1] < at[3][1]
    assert at[1][0] == at[3][0] < at[2][0]
    named = {t.get_text(): t.get_position()[1] for t in figure.axes[1].texts}
    assert list(named) == NAMES
    assert named["cat"] == pytest.approx(at[1][1])
    assert named["dog"] == pytest.approx(at[3][1])


def test_title_and_facts_are_written():
    assert {"pets", "3 classes\n12 images"} <= set(
        words(card(facts=["3 classes", "12 images"]))
    )


def test_images_keep_their_proportions_within_a_square():
    shapes = [(4, 4, 1), (2, 8, 1), (50, 10, 1)]
    shown = {0: [image(i, shape) for i, shape in enumerate(shapes)]}
    figure = card(shown=shown)
    sides = []
    for shape, drawn in zip(shapes, figure.axes[1].images, strict=True):
        left, right, bottom, top = drawn.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(shape[0] / shape[1])
        sides.append(max(bottom - top, right - left))
    assert np.ptp(sides) < 1e-9


@pytest.mark.parametrize("shape", [(9, 9, 1), (3, 9, 3), (9, 3, 3)])
def test_every_image_lies_within_the_axes_and_none_over_another(shape):
    shown = {row: [image(row, shape)] * 10 for row in range(3)}
    axis = card(shown=shown).axes[1]
    extents = [drawn.get_extent() for drawn in axis.images]
    assert max(right for _, right, _, _ in extents) <= axis.get_xlim()[1]
    assert max(bottom for _, _, bottom, _ in extents) <= axis.get_ylim()[0]
    for i, (left, right, bottom, top) in enumerate(extents):
        for other in extents[:i]:
            apart = right <= other[0] or other[1] <= left
            assert apart or bottom <= other[3] or other[2] <= top


def test_an_inch_of_the_sheet_is_an_inch_of_the_figure():
    figure = card(shown={i: [image()] * 3 for i in range(3)})
    axis = figure.axes[1]
    position = axis.get_position()
    assert axis.get_xlim()[1] == pytest.approx(position.width * figure.get_figwidth())
    assert axis.get_ylim()[0] == pytest.approx(position.height * figure.get_figheight())


def test_grey_is_the_same_for_all_images():
    drawn = card(shown={0: [image(7, (4, 4, 1))]}).axes[1].images[0]
    assert drawn.get_clim() == (0, 255)


def test_many_classes_are_numbered_not_named():
    names = [f"class {i}" for i in range(300)]
    chart = card({"train": np.ones(300, int)}, {299: [image()]}, names).axes[0]
    assert chart.get_xlabel() == "class (index)"
    assert len(chart.get_xticklabels()) <= 12


@pytest.mark.parametrize("names", [NAMES, ["$\\no$", "_^", r"50 % \x"]])
def test_it_is_saved_whatever_classes_are_called(names, tmp_path):
    figure = card(names=names, title=names[0], facts=names)
    style.save(figure, tmp_path / "card.png")
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": {"train": np.array([1, 2])}}, r"counts of train must be \[3\]"),
        ({"counts": {}}, "one to 3 splits"),
        ({"shown": {3: [image()]}}, r"classes in 0\.\.2, got \[3\]"),
        (
            {"shown": {0: [image()[..., 0]]}},
            r"uint8 \[H,W,1 or 3\], got uint8 \(4, 4\)",
        ),
        ({"shown": {0: [image().astype(float)]}}, "got float64"),
        ({"names": [], "counts": {"train": np.array([])}, "shown": {}}, "no classes"),
    ],
)
def test_bad_input_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        card(**changes)


def test_the_unit_the_size_and_the_colours_of_what_is_drawn_upon():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    figure = card(unit="objects", image_size=1.5, colours=colours)
    assert figure.axes[0].get_ylabel() == "objects"
    left, right, *_ = figure.axes[1].images[0].get_extent()
    assert right - left == pytest.approx(1.5)
    patches = figure.axes[1].patches
    assert [patch.get_facecolor()[:3] for patch in patches] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]
    assert not card().axes[1].patches
