"""Fonts for names in any script: where the usual one lacks characters, others."""

import functools
import unicodedata
import warnings
from collections.abc import Iterable
from itertools import chain

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry
from matplotlib.text import Text
from PIL import ImageFont


def fit(figure: Figure) -> None:
    """Give the texts of a figure fonts that have their characters.

    Where the system has none, boxes are drawn in their place, and a warning says so.
    """
    ticks = (
        label
        for axes in figure.axes
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
    )
    texts = {*chain(figure.findobj(Text), ticks)}
    others = [font.name for font in _others("".join(t.get_text() for t in texts))]
    if others:
        for text in texts:
            text.set_fontfamily([*text.get_fontfamily(), *others])


def for_pillow(text: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that has most of the characters of a text, `size` pixels high.

    Pillow takes all of them from one font.
    """
    if all(character < "\u0100" for character in text):
        return ImageFont.load_default(size)  # which has those of western Europe
    faces = [(_default(), 0), *((font.fname, font.index) for font in _others(text))]
    path, index = min(faces, key=lambda face: len(_lacking(face[0], text)))
    return ImageFont.truetype(path, size, index=index)


def _others(text: str) -> list[FontEntry]:
    """As few fonts as needed for the characters that the default one lacks."""
    lacking = _lacking(_default(), text)
    found, lacking = _search(frozenset(lacking)) if lacking else ((), lacking)
    if lacking:
        _warn("".join(sorted(lacking))[:20])
    return [*found]


@functools.lru_cache
def _search(characters: frozenset[str]) -> tuple[tuple[FontEntry, ...], frozenset[str]]:
    """Fonts of the system that have the characters, and those that none has."""
    fonts = {
        (font.fname, font.index): font
        for font in sorted(font_manager.fontManager.ttflist, key=_preference)
        if font.size == "scalable" and not font.name.startswith("Last Resort")
    }
    has = {face: characters - _lacking(face[0], characters) for face in fonts}
    chosen: list[FontEntry] = []
    while characters:
        best = max(has, key=lambda key: len(has[key] & characters), default=None)
        if best is None or not has[best] & characters:
            break
        chosen.append(fonts[best])
        characters -= has[best]
    return tuple(chosen), characters


def _preference(font: FontEntry) -> tuple[bool, bool, int, str]:
    """Upright ones without serifs, of normal weight, first."""
    return font.style != "normal", "Sans" not in font.name, _weight(font), font.fname


def _weight(font: FontEntry) -> int:
    weight = font.weight
    number = weight if isinstance(weight, int) else font_manager.weight_dict[weight]
    return abs(number - font_manager.weight_dict["normal"])


def _lacking(path: str, characters: Iterable[str]) -> frozenset[str]:
    """The characters that the font in a file does not have."""
    try:
        has = font_manager.get_font(path).get_charmap()
    except (OSError, RuntimeError):  # removed since, or of a kind that is not read
        has = {}
    return frozenset(c for c in characters if ord(c) not in has and _is_drawn(c))


def _is_drawn(character: str) -> bool:
    """False for what joins or varies other characters, and for the ends of lines."""
    joins = unicodedata.category(character) in ("Cc", "Cf")
    return not joins and not "\ufe00" <= character <= "\ufe0f"


@functools.cache
def _default() -> str:
    return font_manager.findfont(font_manager.FontProperties())


@functools.cache  # so that it is said once, for any number of pictures
def _warn(characters: str) -> None:
    warnings.warn(
        f"no font of this system has the characters {characters}: pictures show boxes "
        "in their place.  Install a font that has, such as one of Noto",
        stacklevel=2,
    )
