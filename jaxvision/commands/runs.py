"""`python -m jaxvision runs`."""

import json as to_json
from pathlib import Path
from typing import Literal

import tyro


def runs(
    folder: tyro.conf.Positional[Path] = Path("runs"),
    experiment: str | None = None,
    sort: Literal["date", "metric"] = "date",
    json: bool = False,
) -> None:
    """List the runs in a folder and below it: state, metric, date, seed and time.

    Args:
        folder: Where they are.
        experiment: Only those of this experiment; may be a pattern with `*`.
        sort: The newest first, or the best on validation first.
        json: Write a list of JSON objects in place of the table.
    """
    from jaxvision.commands.printing import show
    from jaxvision.runs import listing

    found = list(listing.find(folder))
    if experiment is not None:
        found = listing.of_experiment(found, experiment)
    found = listing.ordered(found, sort)
    if json:
        print(to_json.dumps([listing.as_json(run) for run in found], indent=2))
    elif found:
        show(listing.table(found, folder), wide=True)
    else:
        print(f"there are no runs in {folder}")
