"""Training items in their order, without those that a run has decided to leave out."""

import itertools
from typing import Any

from jaxvision.engine.sharding import stack
from jaxvision.types import ItemIterator, PyTree


class Feed:
    """The items of a pipeline, numbered from the start of the run.

    Without anything left out, step t is trained on item t.
    """

    def __init__(self, items: ItemIterator, left_out: set[int]):
        self._items, self._left_out = items, left_out
        self._next = 0

    def take(self, count: int) -> tuple[PyTree, list[int]]:
        """The next items, stacked along a new leading axis, and their numbers."""
        items, numbers = [], []
        for number in itertools.count(self._next):
            item = next(self._items)
            if number not in self._left_out:
                items.append(item)
                numbers.append(number)
            if len(items) == count:
                self._next = number + 1
                return stack(items), numbers
        raise AssertionError("count never ends")

    def get_state(self) -> dict[str, Any]:
        """Where the next item comes from."""
        return {
            "items": self._items.get_state(),
            "next": self._next,
            "left_out": sorted(self._left_out),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`; what is to be left out since then stays so."""
        self._items.set_state(state["items"])
        self._next = state["next"]
        self._left_out |= set(state["left_out"])
