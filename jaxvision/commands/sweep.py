"""`python -m jaxvision sweep`."""

from collections.abc import Callable
from pathlib import Path

import tyro


def sweep(
    experiment: tyro.conf.Positional[str],
    seeds: int = 1,
    grid: tuple[str, ...] = (),
    workdir: Path | None = None,
    vmap_seeds: bool = False,
) -> Callable[[list[str]], None]:
    """Run an experiment for several seeds and values; continues what was begun.

    What follows -- are options of every run: sweep MODULE --seeds 5 -- --epochs 3.

    Args:
        experiment: Its module, such as experiments.mnist_lenet5.
        seeds: Runs with the seeds 0, 1, … for each point of the grid.
        grid: Such as peak_lr=1e-3,2e-3 batch_size=64,128: all combinations.
        workdir: Holds a run directory for each run, and sweep.json with all results.
            Default: runs/sweeps/EXPERIMENT.
        vmap_seeds: Train the seeds of a point in one process, in lockstep: on an
            accelerator as one program, which pays where one small model leaves it idle.
    """
    from jaxvision.runs.sweep import sweep

    def begin(passed: list[str]) -> None:
        sweep(experiment, seeds, grid, workdir, passed, vmap_seeds=vmap_seeds)

    return begin
