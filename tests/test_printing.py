"""What reaches the terminal."""

import io
import sys

from rich.table import Table

from jaxvision.commands.main import main
from jaxvision.printing import make_console, print_whatever_the_encoding


def test_names_that_look_like_markup_are_printed_as_they_are():
    console = make_console(file=io.StringIO(), width=60)
    table = Table(title="[red]title")
    table.add_row("[/wrong]", ":smile:")
    console.print("in [bold]", table)
    console.rule("[exp1]")
    said = console.file.getvalue()
    for words in ("in [bold]", "[red]title", "[/wrong]", ":smile:", "[exp1]"):
        assert words in said


def test_a_terminal_that_lacks_a_character_ends_nothing(monkeypatch):
    for encoding in ("ascii", "cp1252"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        print_whatever_the_encoding()
        make_console().print("28×28 ─ gr\udcffn")
        print("28×28 ─ gr\udcffn", flush=True)
        assert stream.buffer.getvalue().count(b"28") == 4


def test_commands_print_on_any_terminal(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    main(["models", "lenet5"])
    stream.flush()
    assert b"28?28?6" in stream.buffer.getvalue()
