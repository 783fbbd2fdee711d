"""Training items in their order, without those that a run has decided to leave out."""

from typing import Any

import jax
import numpy as np

from jaxvision.engine.sharding import stack
from jaxvision.types import ItemIterator, PyTree


class Feed:
    """The items of a pipeline, numbered from the start of the run.

    Without anything left out, step t is trained on item t.
    """

    def __init__(self, items: ItemIterator, left_out: set[int]):
        self._items, self._left_out = items, left_out
        self._number = 0
        # Where the newest item came from, and that item while nobody has taken it.
        self._before: dict[str, Any] = {}
        self._held: tuple[int, PyTree] | None = None

    def take(self, most: int) -> tuple[PyTree, list[int]]:
        """The next items, stacked along a new leading axis, and their numbers.

        They are at most so many, and end before one of other shapes: a dispatch is one
        program.
        """
        items: list[PyTree] = []
        numbers: list[int] = []
        while len(items) < most:
            number, item = self._held or self._draw()
            if items and _shapes(item) != _shapes(items[0]):
                self._held = number, item
                break
            self._held = None
            items.append(item)
            numbers.append(number)
        return stack(items), numbers

    def get_state(self) -> dict[str, Any]:
        """Where the next item comes from."""
        held = self._held is not None
        return {
            "items": self._before if held else self._items.get_state(),
            "next": self._number - held,
            "left_out": sorted(self._left_out),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`; what is to be left out since then stays so."""
        self._items.set_state(state["items"])
        self._number = state["next"]
        self._left_out |= set(state["left_out"])

    def _draw(self) -> tuple[int, PyTree]:
        while True:
            self._before = self._items.get_state()
            number, item = self._number, next(self._items)
            self._number += 1
            if number not in self._left_out:
                return number, item


def _shapes(item: PyTree) -> PyTree:
    return jax.tree.map(np.shape, item)
