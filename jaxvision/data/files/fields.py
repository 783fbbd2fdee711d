"""What a field in the user's files means, however it is written.

Exporters write `"32"`, `32.0` and `32` for one number, and `0`, `"no"` and `False` for
one truth.  Each function takes a value as JSON, YAML, XML or CSV gives it, and raises
`ValueError` for one that has no meaning of this kind.
"""

import math
import re
import reprlib
import unicodedata
from typing import Any

_TRUTHS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
    # Not stated: what the formats leave out is false.
    **dict.fromkeys(("", "unspecified", "none", "null", "~"), False),
}
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")

_shown = reprlib.Repr(maxstring=60, maxother=60, maxlong=40, maxlist=8, maxlevel=3)


def number(value: Any) -> float:
    """A finite number, of a number or of its decimal notation."""
    kind = type(value)
    if kind is float or kind is int or (kind is str and "_" not in value):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise ValueError(f"{shown(value)} is not a number")


def whole(value: Any) -> int:
    """A whole number: `7`, `7.0`, `"7"` or `"7.0"`."""
    if type(value) is int:
        number(value)
        return value
    found = number(value)
    if not found.is_integer():
        raise ValueError(f"{shown(value)} is not a whole number")
    return int(found)


def truth(value: Any) -> bool:
    """Whether a mark is set: 1 or 0, yes or no, true or false; what is empty is not."""
    if value is None or isinstance(value, bool):
        return bool(value)
    word = str(value).strip().lower() if isinstance(value, str) else None
    if word in _TRUTHS:
        return _TRUTHS[word]
    try:
        if (found := number(value)) in (0, 1):
            return bool(found)
    except ValueError:
        pass
    raise ValueError(f"{shown(value)} is neither true nor false: write 1 or 0")


def identity(value: Any) -> int | str:
    """The id of an entry: `7`, `7.0` and `"7"` are one, `"007"` is another."""
    if isinstance(value, str):
        found = name(value)
        return int(found) if re.fullmatch("0|-?[1-9][0-9]{0,17}", found) else found
    return whole(value)


def name(value: Any) -> str:
    """A name: printable text in one spelling, without spaces around it.

    Letters with accents may be one character or two that look the same; here they are
    one (Unicode's NFC), so that both spellings are one class.
    """
    if not isinstance(value, str):
        try:
            value = str(whole(value))
        except ValueError:
            message = f"{shown(value)} is neither a name nor a whole number"
            raise ValueError(message) from None
    if not is_unicode(value):
        raise ValueError(f"{shown(value)} is no name: it is not UTF-8")
    if found := _CONTROL.search(value):
        raise ValueError(
            f"{shown(value)} is no name: it has the character {found[0]!a}"
        )
    return unicodedata.normalize("NFC", value).strip()


def label(value: Any) -> str:
    """A class: its name, or its number, of which `"10.0"` is the same as `10`."""
    found = name(str(value) if isinstance(value, float) else value)
    if re.fullmatch(r"-?[0-9]+\.0*", found):
        return str(whole(found))
    return found


def is_unicode(text: str) -> bool:
    """False for names of files that are not UTF-8, as Python represents them."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def shown(value: Any) -> str:
    """A value as a message shows it: cut, however long or deep it is."""
    text = _shown.repr(value)
    return text if len(text) <= 120 else text[:119] + "…"
