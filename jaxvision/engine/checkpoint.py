"""Checkpoints: complete, atomic, verified; written beside the training, not instead.

Orbax writes each checkpoint to a temporary folder and renames it when all of it is on
the disk, so a run that is killed at any moment leaves the ones before intact.  Each
holds the whole `TrainState`, the state of the data iterator, and a checksum of every
array, by which a damaged one is recognised and passed over.
"""

import logging
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxvision.engine.state import TrainState, named_leaves
from jaxvision.errors import check


class CheckpointError(RuntimeError):
    """A checkpoint could not be written.  The message names the last good one."""


class Restored(NamedTuple):
    """A checkpoint as it was saved."""

    step: int
    state: TrainState
    extra: dict[str, Any]
    """What else `save` was given: the state of the data iterator and such."""


class Checkpoints:
    """The checkpoints of one run directory.

    Keeps the newest `keep_last` and the one with the highest score.  `warn` is told of
    every damaged checkpoint, which is renamed and never deleted.
    """

    def __init__(
        self, directory: Path, *, keep_last: int = 2, warn: Callable[[str], None]
    ):
        self._directory, self._warn = directory, warn
        _silence_orbax()
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(keep_last),
                        policies.BestN(
                            get_metric_fn=_score,
                            n=1,
                            keep_checkpoints_without_metrics=False,
                        ),
                    ]
                ),
                best_fn=_score,  # without it Orbax does not write the scores down
                cleanup_tmp_directories=True,
            ),
        )

    def save(
        self, state: TrainState, extra: dict[str, Any], *, score: float | None
    ) -> None:
        """Copies the state to the host and returns; the writing goes on by itself.

        `score` ranks it, higher is better; None where nothing was measured.  Saving the
        step that is the newest already does nothing.  Raises `CheckpointError` if this
        or the previous save failed.
        """
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        manifest = {"arrays": _describe(state), "extra": extra}
        self._run(
            lambda: self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    manifest=ocp.args.JsonSave(manifest),
                ),
                metrics=None if score is None else {"score": score},
            )
        )

    def wait(self) -> None:
        """Block until all is on the disk.  Raises `CheckpointError` if it is not."""
        self._run(self._manager.wait_until_finished)

    def restore_latest(self, like: TrainState) -> Restored | None:
        """The newest readable checkpoint, sharded `like` the given state, or None."""
        return self._first_readable(self.steps()[::-1], like)

    def restore_best(self, like: TrainState) -> Restored | None:
        """The readable checkpoint with the best score; of equals the newest."""
        scores = {step: self._manager.metrics(step) for step in self.steps()}
        ranked = sorted(
            (_score(metrics), step) for step, metrics in scores.items() if metrics
        )
        return self._first_readable([step for _, step in ranked[::-1]], like)

    def steps(self) -> list[int]:
        """The steps that are complete on the disk, ascending."""
        return sorted(self._manager.all_steps())

    def close(self) -> None:
        self._manager.close()

    def _first_readable(
        self, steps: Iterable[int], like: TrainState
    ) -> Restored | None:
        for step in steps:
            try:
                manifest = self._restore(step, manifest=ocp.args.JsonRestore())
                arrays = manifest["arrays"]
            # Damage shows in whatever way the reader of that file stumbles over it.
            except Exception as error:
                self._set_aside(step, error)
                continue
            _check_same_arrays(self._directory / str(step), arrays, like)
            try:
                abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
                state = self._restore(step, state=ocp.args.StandardRestore(abstract))
                damaged = [
                    path
                    for path, array in _describe(state).items()
                    if array != arrays[path]
                ]
                if damaged:
                    raise ValueError("checksums differ for " + ", ".join(damaged[:3]))
            except Exception as error:
                self._set_aside(step, error)
                continue
            return Restored(step, state, manifest["extra"])
        return None

    def _restore(self, step: int, **item: Any) -> Any:
        """One item of a checkpoint, by its name."""
        (name,) = item
        return self._manager.restore(step, args=ocp.args.Composite(**item))[name]

    def _set_aside(self, step: int, error: Exception) -> None:
        folder = self._directory / str(step)
        aside = folder.with_name(f"damaged-{step}")
        number = 1
        while aside.exists():
            number += 1
            aside = folder.with_name(f"damaged-{step}-{number}")
        folder.rename(aside)
        self._manager.reload()
        self._warn(
            f"checkpoint {step} is damaged ({_reason(error)}): it was renamed to "
            f"{aside.name}, and the run goes back to the one before"
        )

    def _run(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            steps = self.steps()
            good = f"step {steps[-1]}" if steps else "none"
            raise CheckpointError(
                f"a checkpoint could not be written to {self._directory} "
                f"({_reason(error)}); the last good one is {good}. Make room or mend "
                "the disk, then run the same command to continue from there"
            ) from error


def _silence_orbax() -> None:
    """Errors reach us as exceptions; Orbax also logs each of them many times over.

    And where one array fails, those who wait for the others complain to a closed event
    loop, which Python prints although nobody can do anything about it.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    hook = sys.unraisablehook

    def quieter_hook(unraisable):
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = quieter_hook


def _reason(error: Exception) -> str:
    """The end of a long message, where the cause stands."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else "… " + text[-160:]


def _score(metrics: dict[str, float]) -> float:
    return metrics["score"]


def _describe(state: TrainState) -> dict[str, dict[str, Any]]:
    """Shape, dtype and CRC-32 of the bytes of each array, by path."""
    arrays = {path: np.asarray(leaf) for path, leaf in named_leaves(state).items()}
    return {
        path: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "crc32": zlib.crc32(array.tobytes()),
        }
        for path, array in arrays.items()
    }


def _check_same_arrays(
    folder: Path, saved: dict[str, dict[str, Any]], like: TrainState
) -> None:
    """Raise one `UsageError` that names every array that is not as it was saved.

    That is no damage: the code or a library changed between the run and its resumption.
    """
    wanted = named_leaves(like)
    rules = [
        (path in saved, f"  {path} is missing in the checkpoint")
        for path in sorted(wanted.keys() - saved.keys())
    ]
    rules += [
        (path in wanted, f"  {path} is in the checkpoint and not in the experiment")
        for path in sorted(saved.keys() - wanted.keys())
    ]
    for path in sorted(wanted.keys() & saved.keys()):
        was = (saved[path]["dtype"], tuple(saved[path]["shape"]))
        now = (str(wanted[path].dtype), wanted[path].shape)
        rules.append((was == now, f"  {path} was {was}, is {now}"))
    if not all(holds for holds, _ in rules):
        headline = (
            f"the checkpoint {folder} is of another model or optimiser: go back to the "
            "code it was made with, or choose a new --workdir"
        )
        check((False, headline), *rules)
