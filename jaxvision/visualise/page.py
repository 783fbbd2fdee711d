"""A page of HTML in one file: text is escaped, and pictures are part of the page."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from jaxvision.files import replace_text

Content = Element | str

_LOOK = (
    "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;"
    "color:#333}img{max-width:100%}td,th{padding:.1em 1em .1em 0;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}summary{color:#0072b2}"
    "pre{background:#f4f4f4;padding:.7em;white-space:pre-wrap}"
)


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """`<tag attributes>content</tag>`, in which text stands for itself."""
    made = Element(tag, attributes)
    for each in content:
        if isinstance(each, Element):
            made.append(each)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + each
        else:
            made.text = (made.text or "") + each
    return made


def table(rows: Iterable[Sequence[Content]], head: Sequence[Content] = ()) -> Element:
    """A row for each of `rows`, whose first cell is its name, below those in `head`."""
    lines = [element("tr", *(element("th", cell) for cell in head))] if head else []
    for name, *cells in rows:
        values = [element("td", cell) for cell in cells]
        lines.append(element("tr", element("th", name), *values))
    return element("table", *lines)


def picture(path: Path) -> Element:
    """The content of a PNG file."""
    content = base64.b64encode(path.read_bytes()).decode()
    return element("img", src=f"data:image/png;base64,{content}", alt=path.stem)


def write(path: Path, title: str, body: Iterable[Element]) -> None:
    """Put the page in place of what `path` holds: the whole page, or none of it."""
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("title", title),
            element("style", _LOOK),
        ),
        element("body", element("h1", title), *body),
    )
    text = "<!doctype html>\n" + tostring(page, encoding="unicode", method="html")
    # Names of files that are no UTF-8 hold what cannot be written as such.
    replace_text(path, text.encode("utf-8", "replace").decode() + "\n")
