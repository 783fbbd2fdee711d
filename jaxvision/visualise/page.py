"""A page of HTML in one file: text is escaped, and pictures are part of the page."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from jaxvision.files import replace_text

Content = Element | str

_LOOK = """
:root{color-scheme:light dark;--ink:#333;--paper:#fff;--pale:#666;--box:#f4f4f4;
--rule:#ddd;--link:#0072b2}
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#16181c;--pale:#a8a8a8;
--box:#24272d;--rule:#3a3f47;--link:#6cb8ee}}
body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;
color:var(--ink);background:var(--paper)}
img,svg{max-width:100%}img{background:#fff}
td,th{padding:.1em 1em .1em 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
a,summary{color:var(--link)}
pre{background:var(--box);padding:.7em;white-space:pre-wrap}
.figures{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start;margin:1.2em 0}
figure{margin:0;max-width:100%}figcaption{max-width:16em;color:var(--pale)}
figcaption b{color:var(--ink)}
"""


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


def image(content: bytes, alt: str, **attributes: str) -> Element:
    """A picture, whose bytes are PNG or GIF, and what it shows in words."""
    kind = "gif" if content.startswith(b"GIF8") else "png"
    code = base64.b64encode(content).decode()
    return element("img", src=f"data:image/{kind};base64,{code}", alt=alt, **attributes)


def picture(path: Path) -> Element:
    """The content of a PNG file."""
    return image(path.read_bytes(), path.stem)


def figure(shown: Element, *caption: Content) -> Element:
    """Something with words below it; several are put side by side by `figures`."""
    return element("figure", shown, element("figcaption", *caption))


def figures(several: Iterable[Element]) -> Element:
    """Side by side, in as many rows as the window needs."""
    return element("div", *several, **{"class": "figures"})


def write(path: Path, title: str, body: Iterable[Element]) -> None:
    """Put the page in place of what `path` holds: the whole page, or none of it."""
    replace_text(path, text(title, body))


def text(title: str, body: Iterable[Element]) -> str:
    """The content of the page's file."""
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width"),
            element("title", title),
            element("style", _LOOK),
        ),
        element("body", element("main", element("h1", title), *body)),
        lang="en",
    )
    made = "<!doctype html>\n" + tostring(page, encoding="unicode", method="html")
    # Names of files that are no UTF-8 hold what cannot be written as such.
    return made.encode("utf-8", "replace").decode() + "\n"
