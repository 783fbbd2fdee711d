"""`python -m jaxvision sweep`."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro


def sweep(
    experiment: tyro.conf.Positional[str],
    seeds: int = 1,
    grid: tuple[str, ...] = (),
    space: tuple[str, ...] = (),
    trials: int = 20,
    sampler: Literal["tpe", "random"] = "tpe",
    sampler_seed: int = 0,
    workdir: Path | None = None,
    vmap_seeds: bool = False,
) -> Callable[[list[str]], None]:
    """Run an experiment for several seeds and values; continues what was begun.

    What follows -- are options of every run: sweep NAME --seeds 5 -- --epochs 3.

    Args:
        experiment: As behind run: its name, file or module.
        seeds: Runs with the seeds 0, 1, … for each point of the grid.
        grid: Such as peak_lr=1e-3,2e-3 batch_size=64,128: all combinations.
        space: Such as peak_lr=log:1e-4:1e-1 dropout=linear:0:0.5 depth=int:2:8
            batch_size=32,64: points are chosen from it, in place of a grid. Needs the
            extra sweep.
        trials: Points that are tried of the space.
        sampler: How they are chosen: by what those before have shown (tree-structured
            Parzen estimator), or at random.
        sampler_seed: Decides the points.
        workdir: Holds a run directory for each run, and sweep.json with all results.
            Default: runs/sweeps/EXPERIMENT.
        vmap_seeds: Train the seeds of a point in one process, in lockstep: on an
            accelerator as one program, which pays where one small model leaves it idle.
    """
    from jaxvision.errors import check
    from jaxvision.runs import programs
    from jaxvision.runs.search import search
    from jaxvision.runs.sweep import sweep

    def begin(passed: list[str]) -> None:
        check((not (grid and space), "give either --grid or --space, not both"))
        program = programs.find(experiment)
        if space:
            search(
                program,
                seeds,
                space,
                trials,
                workdir,
                passed,
                sampler=sampler,
                sampler_seed=sampler_seed,
                vmap_seeds=vmap_seeds,
            )
            return
        sweep(program, seeds, grid, workdir, passed, vmap_seeds=vmap_seeds)

    return begin
