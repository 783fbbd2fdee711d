"""Names are drawn in a font that has their characters, wherever there is one.

The characters are those of fonts that come with matplotlib: STIX has circled letters,
DejaVu Sans has not, and none has Chinese ones.
"""

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from jaxvision import visualise
from jaxvision.visualise import fonts

CIRCLED, CHINESE = "\u24b6", "\u732b"


@pytest.fixture
def bundled(monkeypatch):
    """As on a system that has no other fonts than matplotlib's own."""
    own = [
        font for font in font_manager.fontManager.ttflist if "mpl-data" in font.fname
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    for cached in (fonts._search, fonts._warn):
        cached.cache_clear()
    yield
    fonts._search.cache_clear()


def titled(text: str) -> Figure:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_title(text)
    axes.set_xticks([0], [text])
    return figure


def families(figure: Figure) -> list[list[str]]:
    (axes,) = figure.axes
    return [text.get_fontfamily() for text in (axes.title, axes.get_xticklabels()[0])]


def test_another_font_takes_the_place_where_one_lacks_a_character(bundled):
    figure = titled(f"cat {CIRCLED}")
    fonts.fit(figure)
    assert families(figure) == [["sans-serif", "STIXGeneral"]] * 2
    font = fonts.for_pillow(f"cat {CIRCLED}", 12)
    assert "STIX" in font.path and font.getmask(CIRCLED).getbbox() is not None


@pytest.mark.parametrize("text", ["cat", "Gürteltier", "γάτα", "кот", "a\u200db\ufe0f"])
def test_names_that_the_usual_font_can_write_stay_as_they_are(bundled, text):
    figure = titled(text)
    fonts.fit(figure)
    assert families(figure) == [["sans-serif"]] * 2


def test_what_no_font_has_is_warned_of_once(bundled, tmp_path):
    with pytest.warns(UserWarning, match=f"characters {CHINESE}: pictures show boxes"):
        visualise.save(titled(CHINESE), tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visualise.save(titled(CHINESE), tmp_path / "b.png")
        image = np.zeros((8, 8, 3), np.uint8)
        presence = {"image": image, "presence": np.ones(1, np.uint8)}
        assert visualise.overlay(presence, [CHINESE]).any()


def test_fonts_that_were_removed_or_cannot_be_read_are_passed_over(bundled, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    entries = font_manager.fontManager.ttflist
    for name in ("broken.ttf", "gone.ttf"):
        entry = font_manager.FontEntry(fname=str(tmp_path / name), name="A Sans")
        entries.insert(0, entry)
    figure = titled(CIRCLED)
    fonts.fit(figure)
    assert families(figure)[0] == ["sans-serif", "STIXGeneral"]
