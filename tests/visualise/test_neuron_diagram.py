"""Networks as circles and lines."""

import pytest

from jaxvision.errors import UsageError
from jaxvision.visualise import neuron_diagram as diagrams
from jaxvision.visualise.network_diagram import svg


def test_layers_are_connected_with_the_next():
    found = diagrams.layered(2 * ["input"], 3 * ["hidden"], ["output"])
    assert [*found.kinds] == ["input"] * 2 + ["hidden"] * 3 + ["output"]
    expected = {(i, j) for i in (0, 1) for j in (2, 3, 4)} | {(j, 5) for j in (2, 3, 4)}
    assert set(found.lines) == expected
    # Columns are centred beside each other.
    assert found.places[5][1] == found.places[3][1]


def test_kernels_reach_neighbours_and_residues_skip_a_layer():
    near = diagrams.layered(3 * ["input"], 3 * ["kernel"], reach=1.0)
    assert (0, 5) not in near.lines and (0, 4) in near.lines
    skipping = diagrams.layered(*(["hidden"] for _ in range(4)), skips=True)
    assert {*skipping.lines} == {(0, 1), (1, 2), (2, 3)}
    assert [*skipping.arcs] == [(1, 3)]
    assert svg(diagrams.neurons(skipping, "")).count("<path") == 1


def test_all_of_a_ring_are_connected():
    found = diagrams.ring(*(5 * ["backfed input"]))
    assert len({frozenset(line) for line in found.lines}) == 10


@pytest.mark.parametrize(
    "diagram",
    [
        diagrams.layered(["input"], ["gated memory"], ["output"]),
        diagrams.ring("backfed input", "probabilistic hidden", "hidden"),
        diagrams.reservoir(3 * ["input"], "spiking hidden", 3 * ["output"]),
    ],
)
def test_a_picture_has_every_cell_and_line(diagram):
    text = svg(diagrams.neurons(diagram, "what & why"))
    assert text.count('class="cell ') == len(diagram.kinds)
    assert text.count("<line") == len(diagram.lines)
    assert "<title>what &amp; why</title>" in text


def test_the_legend_has_every_kind():
    assert [name for _, name in diagrams.legend()] == [*diagrams.KINDS]


def test_bad_diagrams_are_refused():
    with pytest.raises(UsageError, match="unknown kind of cell 'hiden'"):
        diagrams.neurons(diagrams.layered(["hiden"]), "")
    with pytest.raises(UsageError, match="no columns"):
        diagrams.layered()
