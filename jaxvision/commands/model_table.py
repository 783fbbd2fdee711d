"""The tables of `python -m jaxvision models`: costs and receptive fields."""

import fnmatch
import math
from collections.abc import Sequence

from rich.table import Table

from jaxvision import models
from jaxvision.errors import unknown
from jaxvision.models import measures
from jaxvision.ops.receptive_field import ReceptiveField
from jaxvision.pretrained import published
from jaxvision.printing import make_console


def matching(pattern: str | None) -> list[str]:
    """The names that contain the pattern, or match it with `*` and `?`.

    Raises `UsageError` with the nearest names if there are none.
    """
    names = models.names()
    if pattern is None:
        return names
    whole = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    found = fnmatch.filter(names, whole)
    if not found:
        raise unknown("model", pattern, names)
    return found


def overview(names: Sequence[str]) -> Table:
    """A row for each of the named models."""
    table = Table(box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    for header in (
        "parameters",
        "multiply-adds",
        "activations",
        "input",
        "receptive field",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("weights")
    table.add_column("paper", no_wrap=True)
    for name in names:
        found = _measures(name)
        table.add_row(
            name,
            f"{found.parameters:,}",
            _rounded(found.multiply_adds),
            _rounded(found.activations),
            "×".join(map(str, models.default_input(name))),
            "image" if found.receptive_field is None else f"{found.receptive_field}",
            _weights(name),
            models.paper(name),
        )
    return table


def layer_table(name: str) -> Table:
    """A row for each layer with weights of one model, and the totals."""
    table = Table(box=None, header_style="bold", show_footer=True)
    total = _measures(name)
    table.add_column("layer", footer="total", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("output", justify="right", no_wrap=True)
    for header, footer in (
        ("parameters", f"{total.parameters:,}"),
        ("multiply-adds", f"{total.multiply_adds:,}"),
    ):
        table.add_column(header, footer=footer, justify="right", no_wrap=True)
    for header in ("sees", "every", "from"):
        table.add_column(header, justify="right", no_wrap=True)
    for layer in measures.layers(name):
        table.add_row(
            layer.name,
            layer.kind,
            "×".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
            *_field(layer.receptive_field),
        )
    return table


def memory(name: str) -> str:
    """What the maps between the layers take, in words."""
    forward, backward = measures.memory(name)
    return (
        f"maps of one image in float32: {forward / 1e6:,.1f} MB to predict, the "
        f"largest two in a row; {backward / 1e6:,.1f} MB to train, all of them"
    )


def _field(field: ReceptiveField) -> tuple[str, str, str]:
    """Size, stride and beginning of a receptive field, in pixels: one number where both
    directions are alike."""
    if not all(0 < size < math.inf for size in field.size):
        return "image", "", ""
    ahead = (0 - field.padding[0], 0 - field.padding[1])  # and never -0
    v, h, p = (
        "×".join(f"{number:g}" for number in dict.fromkeys(pair))
        for pair in (field.size, field.stride, ahead)
    )
    return v, h, p


def show(table: Table) -> None:
    """Print a table at its full width; a narrow terminal wraps or cuts the lines."""
    console = make_console(soft_wrap=False, width=1000)
    console.width = console.measure(table).maximum
    console.print(table)


def _measures(name: str) -> measures.Measures:
    return measures.recorded().get(name) or measures.measure(name)


def _weights(name: str) -> str:
    """Sources whose files `pretrained.load` reads, with a star where it downloads."""
    sources = [source for source in models.sources(name) if source != "jaxvision"]
    return ", ".join(
        source + "*" * (i == 0 and name in published.FILES)
        for i, source in enumerate(sources)
    )


def _rounded(number: int) -> str:
    return f"{number / 1e9:,.2f} G" if number >= 1e9 else f"{number / 1e6:,.1f} M"
