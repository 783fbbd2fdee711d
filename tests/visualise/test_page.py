import base64
from html.parser import HTMLParser

from jaxvision.visualise import page

ODD = "a<script>alert('x')</script> & \"b\" $x^$ é\n"


class Reader(HTMLParser):
    """The tags, the text and the attributes of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text.append(data)


def test_names_are_text_wherever_they_stand(tmp_path):
    path = tmp_path / "page.html"
    body = [
        page.element("p", ODD, page.element("code", ODD), ODD, id=ODD),
        page.table([(ODD, ODD, page.element("b", ODD))], head=(ODD, "", "")),
    ]
    page.write(path, ODD, body)
    found = Reader(path)
    assert "script" not in found.tags and {"title", "h1", "th", "b"} <= set(found.tags)
    assert "".join(found.text).count(ODD) == 9
    assert ("id", ODD) in found.attributes


def test_pictures_are_part_of_the_page(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"\x89PNG picture")
    page.write(tmp_path / "page.html", "t", [page.picture(tmp_path / "curves.png")])
    attributes = dict(Reader(tmp_path / "page.html").attributes)
    kind, _, content = attributes["src"].partition(",")
    assert kind == "data:image/png;base64" and attributes["alt"] == "curves"
    assert base64.b64decode(content) == b"\x89PNG picture"


def test_a_name_that_is_no_utf_8_does_not_stop_the_page(tmp_path):
    page.write(
        tmp_path / "page.html", "caf\udce9", [page.element("p", "\udce9t\u00e9")]
    )
    assert "?t\u00e9" in "".join(Reader(tmp_path / "page.html").text)
