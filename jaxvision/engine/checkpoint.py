"""Checkpoints: complete, atomic, verified; written beside the training, not instead.

The training waits for the copy of its state to the host; a thread does all else.  It
has Orbax write into a temporary folder and rename that when all of it is on the disk,
so a run that is killed at any moment leaves the checkpoints before intact.  Each holds
the whole `TrainState` and the state of the data iterator, with checksums by which a
damaged one is recognised and passed over, see `snapshot`.

With several processes each writes and reads its own shards of one checkpoint, in a
folder that all of them see; what they find, they find together.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxvision.engine import processes, snapshot
from jaxvision.engine.state import TrainState
from jaxvision.errors import UsageError, check
from jaxvision.files import os_error
from jaxvision.paths import named_leaves

_NEWEST = 2
"""Checkpoints kept for being new: one is left where the last is damaged."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written.  The message names the last good one."""


class Restored(NamedTuple):
    """A checkpoint as it was saved."""

    step: int
    state: TrainState
    extra: dict[str, Any]
    """What else `save` was given: the state of the data iterator, the log and such."""


class Checkpoints:
    """The checkpoints of one run directory.

    Keeps the newest two, the one with the highest score, and those of every multiple of
    `keep_every` steps.  Scores are read from the checkpoints themselves, where they are
    under the checksum.  `warn` is told of every damaged checkpoint, which is renamed
    and never deleted.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_every: int | None = None,
        warn: Callable[[str], None],
    ):
        self._directory, self._warn = directory, warn
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None
        self._spare: dict[str, np.ndarray] = {}
        self._scores: dict[int, float | None] = {}
        # Orbax logs many times over what reaches us as an exception.
        logging.getLogger("absl").setLevel(logging.CRITICAL + 1)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._manager = self._make_manager(keep_every)
        except (ValueError, TypeError, AttributeError):
            # Orbax's notes of when a checkpoint was made; it does without them.
            for notes in directory.glob("*/_CHECKPOINT_METADATA"):
                notes.unlink(missing_ok=True)
            warn(f"Orbax's notes beside the checkpoints in {directory} were damaged")
            self._manager = self._make_manager(keep_every)

    def _make_manager(self, keep_every: int | None) -> ocp.CheckpointManager:
        kept = [policies.LatestN(_NEWEST), _Best(self._ranked)]
        if keep_every is not None:
            kept.append(policies.EveryNSteps(keep_every))
        return ocp.CheckpointManager(
            self._directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                cleanup_tmp_directories=True,
                create=False,
                enable_async_checkpointing=False,  # there is a thread already
                async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
                # Named, the processes wait for each other without their devices, which
                # take part in the training meanwhile.
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    active_processes=set(range(jax.process_count()))
                ),
            ),
        )

    def save(
        self,
        state: TrainState,
        extra: dict[str, Any],
        *,
        score: float | None,
        log: Callable[[], None] = lambda: None,
    ) -> None:
        """Copies the state to the host and returns; the writing goes on by itself.

        `score` ranks it, higher is better; None where no finite number was measured:
        such a checkpoint is never the best.  `log` puts on the disk what was logged so
        far.  Waits for the save before.  Saving the step that is the newest already
        does nothing.  Raises `CheckpointError` if the save before failed; if this one
        does, the next call of a method tells.
        """
        self.wait()
        if int(state.step) == self._manager.latest_step():
            return
        taken = snapshot.take(state, self._spare)
        if jax.default_backend() == "cpu":  # others copy into memory of their own
            self._spare = taken.shards
        self._writing = self._thread.submit(self._write, taken, extra, score, log)

    def _write(
        self,
        taken: snapshot.Snapshot,
        extra: dict[str, Any],
        score: float | None,
        log: Callable[[], None],
    ) -> None:
        self.run(log, "the log")
        extra = {**extra, "score": score}
        arguments = _Save(lambda folder: snapshot.write(folder, taken, extra))
        self._scores[taken.step] = score
        self.run(
            lambda: self._manager.save(
                taken.step, args=ocp.args.Composite(state=arguments)
            )
        )

    def busy(self) -> bool:
        """Whether a checkpoint is being written, so that another would have to wait."""
        return self._writing is not None and not self._writing.done()

    def check(self) -> None:
        """Raises `CheckpointError` if the last save failed; never waits for it."""
        if not self.busy():
            self.wait()

    def wait(self) -> None:
        """Block until all is on the disk.  Raises `CheckpointError` if it is not."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def restore_latest(self, like: TrainState) -> Restored | None:
        """The newest readable checkpoint, sharded `like` a state, or None.

        `like` may be abstract, so that there need not be two states at a time.
        """
        self._inspect()
        return self._first_readable(self.steps()[::-1], like)

    def restore_best(self, like: TrainState) -> Restored | None:
        """The readable checkpoint with the best score; of equals the newest."""
        self._inspect()
        return self._first_readable(self._ranked(), like)

    def _inspect(self) -> None:
        """Learn the scores of checkpoints that were there before this process."""
        for step in self.steps():
            if step not in self._scores:
                contents, error = self._attempt(self._contents, step)
                if error is None:
                    self._scores[step] = contents["extra"]["score"]
                else:
                    self._set_aside(step, error)

    def _ranked(self) -> list[int]:
        return ranked({step: self._scores.get(step) for step in self.steps()})

    def steps(self) -> list[int]:
        """The steps that are complete on the disk, ascending."""
        return sorted(self._manager.all_steps())

    def close(self) -> None:
        """Ends the writing.  `wait` tells whether it went well; this never raises, so
        that it does not hide what ended the run."""
        self._thread.shutdown()
        with contextlib.suppress(Exception):
            self._manager.close()

    def _first_readable(
        self, steps: Iterable[int], like: TrainState
    ) -> Restored | None:
        for step in steps:
            folder = snapshot.step_folder(self._directory, step)
            contents, error = self._attempt(self._contents, step)
            if error is None:
                _check_same_arrays(folder.parent, contents["arrays"], like)
                state, error = self._attempt(snapshot.read, folder, like)
            if error is None:
                return Restored(step, state, contents["extra"])
            self._set_aside(step, error)
        return None

    def _contents(self, step: int) -> dict[str, Any]:
        contents = snapshot.read_contents(snapshot.step_folder(self._directory, step))
        if contents["step"] != step:
            raise ValueError(f"it holds step {contents['step']}")
        return contents

    def _attempt(self, action: Callable[..., Any], *args, **kwargs) -> Any:
        """`(result, None)`, or `(…, reason)` if it failed in one of the processes."""
        result, reason = None, None
        try:
            result = action(*args, **kwargs)
        except UsageError:
            raise  # no damage, and found by every process
        # Damage shows in whatever way the reader of that file stumbles over it.
        except Exception as error:
            reason = _reason(error)
        reasons = [found for found in processes.gather(reason) if found is not None]
        return result, reasons[0] if reasons else None

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
            f"{aside.name}, and another one takes its place"
        )

    def run(self, action: Callable[[], Any], what: str = "a checkpoint") -> None:
        """Raises `CheckpointError` if the disk is why something cannot be written."""
        try:
            action()
        except Exception as error:
            fault = os_error(error)
            if fault is None:
                raise
            steps = self.steps()
            good = f"step {steps[-1]}" if steps else "none"
            raise CheckpointError(
                f"{what} could not be written to {self._directory} "
                f"({_reason(fault)}); the last good one is {good}. Make room or mend "
                "the disk, then run the same command to continue from there"
            ) from error


class _Handler(ocp.AsyncCheckpointHandler):
    """What Orbax calls in every process when a checkpoint's folder is there."""

    def save(self, directory, args):
        args.write(Path(directory))

    async def async_save(self, directory, args):
        # Where one that is not async raises, Orbax leaves others that are unawaited.
        self.save(directory, args)

    def restore(self, directory, args=None):
        raise NotImplementedError("checkpoints are read without Orbax")


@ocp.args.register_with_handler(_Handler, for_save=True, for_restore=True)
@dataclasses.dataclass
class _Save(ocp.args.CheckpointArgs):
    write: Callable[[Path], None]


def _reason(error: Exception) -> str:
    """The end of a long message, where the cause stands."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else "… " + text[-160:]


def ranked(scores: Mapping[int, float | None]) -> list[int]:
    """The steps that have a score, best first; of equals the newest."""
    known = [(score, step) for step, score in scores.items() if score is not None]
    return [step for _, step in sorted(known, reverse=True)]


@dataclasses.dataclass
class _Best(policies.PreservationPolicy):
    """Keeps the first of those that are ranked."""

    ranked: Callable[[], list[int]]

    def should_preserve(self, checkpoints, *, context):
        best = self.ranked()[:1]
        return [checkpoint.step in best for checkpoint in checkpoints]


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
