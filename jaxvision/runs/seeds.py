"""`--vmap-seeds`: a run for each seed, in threads that meet at every dispatch."""

import dataclasses
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxvision.engine import processes, signals
from jaxvision.engine.lockstep import Lockstep
from jaxvision.engine.watchdog import leave
from jaxvision.errors import check
from jaxvision.runs.exit_codes import EXIT_CODES


def execute_seeds(
    execute: Callable[..., dict[str, Any]], command: Any
) -> dict[str, Any]:
    """The record of the first seed; the others are in their run directories.

    `execute(command, config, workdir, share_step=…)` is one run.  One that fails leaves
    the others to themselves; the first error is raised in the end.
    """
    launch, seeds = command.launch, command.launch.vmap_seeds
    check(
        (
            any(field.name == "seed" for field in dataclasses.fields(command.config)),
            "--vmap-seeds needs a config with a field `seed`",
        ),
        (len(set(seeds)) == len(seeds), f"--vmap-seeds names a seed twice: {seeds}"),
        (
            "{seed}" in str(command.workdir),
            "--vmap-seeds needs a --workdir in which {seed} stands for the seed, such "
            f"as runs/seed{{seed}}, got {command.workdir}",
        ),
        (not processes.several(), "--vmap-seeds trains in one process: start only one"),
        (launch.profile is None, "--profile and --vmap-seeds do not go together"),
        (
            not launch.dry_run and not launch.find_lr and launch.max_batch is None,
            "--dry-run, --find-lr and --max-batch look at one run: leave --vmap-seeds "
            "out",
        ),
    )
    mesh = launch.make_mesh()
    check(
        (
            mesh.size == 1,
            f"--vmap-seeds trains on one device, and the mesh has {mesh.size}: add "
            "--devices 1",
        )
    )
    lockstep = Lockstep(len(seeds), mesh)
    results: dict[int, dict[str, Any]] = {}
    errors: dict[int, BaseException] = {}

    def execute_one(number: int, seed: int) -> None:
        own = command if number == 0 else command.silenced()
        config = dataclasses.replace(command.config, seed=seed)
        workdir = Path(str(command.workdir).replace("{seed}", str(seed)))
        try:
            with lockstep.member(number) as share_step:
                results[seed] = execute(own, config, workdir, share_step=share_step)
        except BaseException as error:
            errors[seed] = error

    threads = [
        threading.Thread(target=execute_one, args=each, daemon=True)
        for each in enumerate(seeds)
    ]
    try:
        with signals.handed_on():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    except KeyboardInterrupt:
        leave(EXIT_CODES[KeyboardInterrupt], "interrupted")  # threads cannot be stopped
    failed = [seed for seed in seeds if seed in errors]
    for seed in failed:
        print(f"seed {seed}: {errors[seed]}", file=sys.stderr)
    if failed:
        raise errors[failed[0]]
    return results[seeds[0]]
