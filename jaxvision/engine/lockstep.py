"""Several runs in one process, whose steps are one program.

Each run is a call of the same `fit`, in a thread of its own, and knows of no other: its
state, order of data, log, checkpoints and record are its own.  They meet where a step
is dispatched.  There each waits until all that are still training have called, and the
calls that are the same program are made as one.

Only one thread moves at any time, from one dispatch to the next, so nothing that they
use has to be safe for threads, and what is compiled for the first is there for all.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxvision.engine.sharding import replicated
from jaxvision.engine.state import digest
from jaxvision.types import PyTree

type Step = Callable[..., PyTree]
"""`(state, constants, items, requests) -> (state, report)`, jitted; donates state."""


class Lockstep:
    """Where `count` runs meet that all train on the one device of `mesh`.

    With `vmapped`, steps that are the same program for the same data become one by
    `jax.vmap`, equal up to the order of sums; else they run one after the other, to the
    same bits as alone.  By default they are vmapped on accelerators, which a small
    model leaves idle.  A CPU is busy with one, and XLA's convolutions with a kernel for
    each image are slow there.
    """

    def __init__(self, count: int, mesh: Mesh, vmapped: bool | None = None):
        self._mesh = mesh
        self._vmapped = jax.default_backend() != "cpu" if vmapped is None else vmapped
        self._turn = threading.Condition()
        self._running = set(range(count))
        self._calls: dict[int, tuple[Step, tuple]] = {}
        self._answers: dict[int, Any] = {}
        self._programs: dict[Hashable, Hashable] = {}
        self._steps: dict[Hashable, Step] = {}
        self._wide: dict[Step, Step] = {}

    @contextlib.contextmanager
    def member(self, number: int) -> Iterator[Callable[[Step], Step]]:
        """For the thread of one run: gives what its `fit` takes as `share_step`."""
        with self._turn:
            try:
                yield lambda step: lambda *call: self._meet(number, step, call)
            finally:
                self._running.discard(number)
                self._dispatch_if_all_have_called()

    def _meet(self, number: int, step: Step, call: tuple) -> PyTree:
        self._calls[number] = step, call
        self._dispatch_if_all_have_called()
        self._turn.wait_for(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _dispatch_if_all_have_called(self) -> None:
        if not self._calls or self._calls.keys() != self._running:
            return
        calls, self._calls = self._calls, {}
        self._dispatch(calls)
        self._turn.notify_all()

    def _dispatch(self, calls: dict[int, tuple[Step, tuple]]) -> None:
        """Find an answer, or an error, for each call."""
        alike: dict[Hashable, list[int]] = {}
        for number, call in sorted(calls.items()):
            try:
                alike.setdefault(self._program(number, *call), []).append(number)
            except Exception as error:
                self._answers[number] = error
        for program, numbers in alike.items():
            # One function for all of them, so that it is compiled once.
            step = self._steps[program]
            try:
                answers = self._run(step, [calls[number][1] for number in numbers])
            except Exception as error:
                answers = [error] * len(numbers)
            self._answers |= zip(numbers, answers, strict=True)

    def _run(self, step: Step, calls: list[tuple]) -> list[Any]:
        if not self._vmapped or len(calls) == 1:
            return [step(*call) for call in calls]
        if step not in self._wide:
            self._wide[step] = _make_vmapped(step, self._mesh)
        states, constants, items, _ = zip(*calls, strict=True)
        return self._wide[step](states, constants[0], items)

    def _program(self, number: int, step: Step, call: tuple) -> Hashable:
        """What a step computes and from which data, apart from state and items."""
        _, constants, items, _ = call
        shapes = tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(items))
        key = number, step, shapes
        if key not in self._programs:
            text = step.lower(*call).as_text()  # type: ignore[attr-defined]
            same = hashlib.sha256(text.encode()).hexdigest(), digest(constants)
            self._programs[key] = same
            self._steps.setdefault(same, step)
        return self._programs[key]


def _make_vmapped(step: Step, mesh: Mesh) -> Step:
    """`(states, constants, items) -> [(state, report), …]`; states are donated."""

    def steps(states, constants, items):
        states, items = (
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
            for each in (states, items)
        )
        answers = jax.vmap(step, in_axes=(0, None, 0))(states, constants, items)
        leaves, tree = jax.tree.flatten(answers)
        return [jax.tree.unflatten(tree, each) for each in zip(*leaves, strict=True)]

    return jax.jit(steps, donate_argnums=0, out_shardings=replicated(mesh))
