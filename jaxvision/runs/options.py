"""The options that every experiment has, beside those of its own config."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from jaxvision import optim
from jaxvision.engine import sharding
from jaxvision.engine.loop import Maintenance
from jaxvision.errors import UsageError, check
from jaxvision.runs import tracking
from jaxvision.types import Experiment


@dataclasses.dataclass(frozen=True)
class Numerics:
    """How the numbers of any experiment are computed.  Part of what a run is: one that
    is continued must have the same.  By default, as the experiment's file says."""

    precision: Literal["float32", "bf16", "bf16_params"] | None = None
    """`bf16`: the model computes in bfloat16; parameters, the statistics of norms, loss
    and sums stay float32.  `bf16_params`: parameters and optimiser state too."""
    remat: bool = False
    """Recompute activations in the backward pass rather than keep them."""
    accumulate: int | None = None
    """Parts of a batch that go through the model in turn, with one update for all."""
    ema: float | None = None
    """Also evaluate the moving average of the parameters with this decay."""
    on_bad_loss: Literal["stop", "skip", "rollback"] | None = None
    """After a loss that is not finite, or a spike: end the run; or skip the step and
    count it; or return to the newest checkpoint and leave the batch out."""
    spike: float | None = None
    """A loss is also bad at so many times the running mean of the ones before."""

    init_from: Path | None = None
    """Begin with the best weights of another run, given by its directory, or with a
    file of weights of the same model: with what fits by path and shape."""

    def chosen(self) -> dict[str, Any]:
        """What was given, for the record."""
        given = {
            f"numerics_{field.name}": getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        return {k: str(v) if isinstance(v, Path) else v for k, v in given.items()}

    def apply(self, experiment: Experiment) -> Experiment:
        """The experiment, computed like this.  Raises `UsageError`."""
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("accumulate", "on_bad_loss", "spike")
            if getattr(self, name) is not None
        }
        if self.ema is not None:
            changes["average"] = optim.ema(self.ema)
        model: dict[str, Any] = {"remat": True} if self.remat else {}
        if self.precision is not None:
            low = self.precision != "float32"
            model["dtype"] = jnp.bfloat16 if low else jnp.float32
        if self.precision == "bf16_params":
            changes["param_dtype"] = jnp.bfloat16
        if model:
            if experiment.model.rebuild is None:
                raise UsageError(
                    "the model of this experiment comes in one precision only: make it "
                    "with models.create, or leave --precision and --remat out"
                )
            changes["model"] = experiment.model.rebuild(**model)
        experiment = experiment._replace(**changes)
        check(
            (
                experiment.accumulate >= 1,
                f"accumulate must be at least 1, got {experiment.accumulate}",
            ),
            (
                experiment.spike is None or experiment.spike > 1,
                f"spike must be a factor greater than 1, got {experiment.spike}",
            ),
        )
        return experiment


@dataclasses.dataclass(frozen=True)
class Launch:
    """Where and how a run happens: nothing that changes what is learned."""

    workdir: Path | None = None
    """Run directory.  One with an unfinished run of the same config is continued.
    Default: runs/<experiment>/<date-time>."""
    vmap_seeds: tuple[int, ...] = ()
    """Train these seeds in one process, in lockstep, instead of the one of the config.
    Each is a run of its own: {seed} in --workdir stands for it."""
    devices: int | None = None
    """How many of the local devices share the work.  Default: all."""
    mesh: str | None = None
    """How they share it: `data=8` splits the batch, `data=4,fsdp=2` parameters and
    optimiser state too, `model=2` layers for which the experiment has rules.  Default:
    all along data."""
    smoke: bool = False
    """Shrink the experiment to a few seconds, to see that it works from end to end."""
    pictures_every: int | None = None
    """Also draw the predictions on the validation set, at every n-th validation, into
    pictures/step-N of the run directory.  That validation is gone through twice."""
    track: tracking.Service | None = None
    """Show the run in Weights & Biases or MLflow too; both keep it on this machine
    unless their own environment variables say where else."""
    save_every_steps: int | None = None
    """Checkpoints besides those that follow validations."""
    save_every_minutes: float | None = 10.0
    """The same by the clock."""
    keep_every: int | None = None
    """Keep the checkpoint of every n-th validation for good, beside the newest two and
    the best, such as for `explain` to show how filters have changed."""
    stall_timeout: float | None = 1800.0
    """Seconds in which no step finishes, after which the run ends with the stacks."""
    profile: str | None = None
    """Write a trace of the steps from A to B, given as A:B."""
    dry_run: bool = False
    """Train nothing; show config, data, mesh, parameters, memory, operations, time."""
    find_lr: bool = False
    """Save no weights; train for up to 200 steps while the learning rate rises, and
    suggest one."""
    max_batch: float | None = None
    """Train nothing; find the largest batch that fits into so many gigabytes of each
    device.  0: into what the device has."""
    coordinator: str | None = None
    """Address host:port of process 0, where neither SLURM, Open MPI nor a cloud TPU
    tells; with --num-processes and --process-id."""
    num_processes: int | None = None
    """Of how many processes the run consists."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    start_timeout: int = 300
    """Seconds to wait for all processes to arrive."""
    host_timeout: int = 60
    """Seconds after which a process that is not heard of counts as lost."""

    def check(self) -> None:
        """Raises `UsageError` for what no run can mean."""
        check(
            *(
                (value is None or value > 0, f"{option} must be positive, got {value}")
                for name in POSITIVE
                for option in ["--" + name.replace("_", "-")]
                for value in [getattr(self, name)]
            ),
            (
                self.max_batch is None or self.max_batch >= 0,
                f"--max-batch is a memory in gigabytes, got {self.max_batch}",
            ),
            (
                self.process_id is None or self.process_id >= 0,
                f"--process-id is counted from 0, got {self.process_id}",
            ),
            (
                all(
                    len(os.fsencode(part)) <= NAME_MAX
                    for part in (self.workdir or Path()).parts
                ),
                f"a name in --workdir {self.workdir} is longer than {NAME_MAX} bytes, "
                "which file systems cannot hold: choose a shorter one",
            ),
        )
        _span(self.profile)
        tracking.check_installed(self.track)

    def make_mesh(self) -> sharding.Mesh:
        """The mesh that was asked for.  Raises `UsageError`."""
        axes = None if self.mesh is None else sharding.parse_mesh(self.mesh)
        return sharding.make_mesh(self.devices, axes)

    def maintenance(self) -> Maintenance:
        """What is done beside the training.  Raises `UsageError`."""
        self.check()
        return Maintenance(
            save_every_steps=self.save_every_steps,
            save_every_minutes=self.save_every_minutes,
            keep_every=self.keep_every,
            stall_timeout=self.stall_timeout,
            profile=_span(self.profile),
            pictures_every=self.pictures_every,
        )


def _span(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    start, _, stop = text.partition(":")
    check(
        (
            start.isdecimal() and stop.isdecimal() and int(start) < int(stop),
            f"--profile must be two steps in order, such as 10:20, got {text!r}",
        )
    )
    return int(start), int(stop)


POSITIVE = (
    "pictures_every",
    "save_every_steps",
    "save_every_minutes",
    "keep_every",
    "stall_timeout",
    "devices",
    "num_processes",
    "start_timeout",
    "host_timeout",
)
"""Options of `Launch` that are positive where they are given."""

NAME_MAX = 255
"""Bytes in the name of a file, at most, on usual file systems."""

GROUPS = {
    "run": (
        "workdir",
        "smoke",
        "pictures_every",
        "track",
        "dry_run",
        "find_lr",
        "max_batch",
    ),
    "numbers": tuple(field.name for field in dataclasses.fields(Numerics)),
    "devices": ("devices", "mesh", "vmap_seeds"),
    "maintenance": (
        "save_every_steps",
        "save_every_minutes",
        "keep_every",
        "stall_timeout",
        "profile",
    ),
    "processes": (
        "coordinator",
        "num_processes",
        "process_id",
        "start_timeout",
        "host_timeout",
    ),
}
"""In which groups the help shows the options of `Numerics` and `Launch`."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a study leaves what it finds: the options that it shares with runs."""

    workdir: Path | None = None
    """Directory of the record and the pictures.  Default:
    runs/<experiment>/<date-time>."""
    smoke: bool = False
    """Shrink the study to a few seconds, to see that it works from end to end."""


PLACE = tuple(field.name for field in dataclasses.fields(Place))

RARE = ("maintenance", "processes")
"""Groups that `--help` leaves to `--help-all`."""
