"""Checkpoints: complete, atomic, verified; written beside the training, not instead.

Orbax writes each checkpoint to a temporary folder and renames it when all of it is on
the disk, so a run that is killed at any moment leaves the ones before intact.  Each
holds the whole `TrainState`, the state of the data iterator, and a checksum of every
shard of every array, by which a damaged one is recognised and passed over.

With several processes each writes and reads its own shards of one checkpoint, in a
folder that all of them see; what they find, they find together.
"""

import contextlib
import logging
import sys
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxvision.engine import processes, sharding
from jaxvision.engine.state import TrainState, named_leaves
from jaxvision.errors import check
from jaxvision.types import Array


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
        arrays = _describe(state)
        for others in processes.gather({k: v["shards"] for k, v in arrays.items()}):
            for path, shards in others.items():
                arrays[path]["shards"] |= shards
        manifest = {"arrays": arrays, "extra": extra}
        self.run(
            lambda: self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    manifest=ocp.args.JsonSave(manifest),
                ),
                metrics=None if score is None else {"score": score},
            )
        )

    def busy(self) -> bool:
        """Whether a checkpoint is being written, so that another would have to wait."""
        return self._manager.is_saving_in_progress()

    def wait(self) -> None:
        """Block until all is on the disk.  Raises `CheckpointError` if it is not."""
        self.run(self._manager.wait_until_finished)

    def restore_latest(self, like: TrainState) -> Restored | None:
        """The newest readable checkpoint, sharded `like` a state, or None.

        `like` may be abstract, so that there need not be two states at a time.
        """
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
        """Ends the writing.  `wait` tells whether it went well; this never raises, so
        that it does not hide what ended the run."""
        with contextlib.suppress(Exception):
            self._manager.close()

    def _first_readable(
        self, steps: Iterable[int], like: TrainState
    ) -> Restored | None:
        for step in steps:
            manifest, error = self._attempt(
                self._restore, step, manifest=ocp.args.JsonRestore()
            )
            if error is None:
                saved = manifest["arrays"]
                _check_same_arrays(self._directory / str(step), saved, like)
                state, error = self._attempt(self._verified, step, saved, like)
            if error is None:
                return Restored(step, state, manifest["extra"])
            self._set_aside(step, error)
        return None

    def _verified(self, step: int, saved: dict[str, Any], like: TrainState):
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        state = self._restore(step, state=ocp.args.StandardRestore(abstract))
        damaged = [
            path
            for path, array in named_leaves(state).items()
            if not _has_checksums(array, saved[path]["shards"])
        ]
        if damaged:
            raise ValueError("checksums differ for " + ", ".join(damaged[:3]))
        return state

    def _attempt(self, action: Callable[..., Any], *args, **kwargs) -> Any:
        """`(result, None)`, or `(…, reason)` if it failed in one of the processes."""
        result, reason = None, None
        try:
            result = action(*args, **kwargs)
        # Damage shows in whatever way the reader of that file stumbles over it.
        except Exception as error:
            reason = _reason(error)
        reasons = [found for found in processes.gather(reason) if found is not None]
        return result, reasons[0] if reasons else None

    def _restore(self, step: int, **item: Any) -> Any:
        """One item of a checkpoint, by its name."""
        (name,) = item
        return self._manager.restore(step, args=ocp.args.Composite(**item))[name]

    def _set_aside(self, step: int, reason: str) -> None:
        if processes.is_main():
            self._rename(step, reason)
        processes.gather("renamed")
        self._manager.reload()

    def _rename(self, step: int, reason: str) -> None:
        folder = self._directory / str(step)
        aside = folder.with_name(f"damaged-{step}")
        number = 1
        while aside.exists():
            number += 1
            aside = folder.with_name(f"damaged-{step}-{number}")
        folder.rename(aside)
        self._warn(
            f"checkpoint {step} is damaged ({reason}): it was renamed to "
            f"{aside.name}, and the run goes back to the one before"
        )

    def run(self, action: Callable[[], Any], what: str = "a checkpoint") -> None:
        """Raises `CheckpointError` if something cannot be written."""
        try:
            action()
        except Exception as error:
            steps = self.steps()
            good = f"step {steps[-1]}" if steps else "none"
            raise CheckpointError(
                f"{what} could not be written to {self._directory} "
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
    """Shape and dtype of each array by path, and CRC-32 of the shards that lie here."""
    leaves = named_leaves(state)
    shards = [
        (path, _region(shard.index, array.shape), shard.data)
        for path, array in leaves.items()
        for shard in array.addressable_shards
        if shard.replica_id == 0
    ]
    described: dict[str, dict[str, Any]] = {
        path: {"shape": list(array.shape), "dtype": str(array.dtype), "shards": {}}
        for path, array in leaves.items()
    }
    with ThreadPoolExecutor() as pool:  # the training waits for this
        found = pool.map(lambda shard: _crc32(np.asarray(shard[2])), shards)
        for (path, region, _), crc in zip(shards, found, strict=True):
            described[path]["shards"][region] = crc
    return described


def _has_checksums(array: Array, shards: dict[str, int]) -> bool:
    """Whether an array is what was saved, however it was split then and is now."""
    now = array.sharding.devices_indices_map(array.shape).values()
    if {_region(index, array.shape) for index in now} == shards.keys():
        return all(
            _crc32(np.asarray(shard.data)) == shards[_region(shard.index, array.shape)]
            for shard in array.addressable_shards
            if shard.replica_id == 0
        )
    whole = sharding.to_host(array)
    return all(_crc32(whole[_slices(region)]) == crc for region, crc in shards.items())


def _region(index: tuple[slice, ...], shape: tuple[int, ...]) -> str:
    """A part of an array as a key for JSON, such as `"0:64 0:8"`."""
    bounds = [part.indices(size) for part, size in zip(index, shape, strict=True)]
    return " ".join(f"{start}:{stop}" for start, stop, _ in bounds)


def _slices(region: str) -> tuple[slice, ...]:
    return tuple(slice(*map(int, part.split(":"))) for part in region.split())


def _crc32(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


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
