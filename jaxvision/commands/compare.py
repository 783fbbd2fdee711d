"""`python -m jaxvision compare`."""

import json as to_json
from pathlib import Path
from typing import Literal

import tyro


def compare(
    runs: tyro.conf.Positional[tuple[Path, ...]] = (),
    output: Path = Path("compare.png"),
    against: Literal["epoch", "updates", "seconds"] = "epoch",
    json: bool = False,
) -> None:
    """Show how runs differ, what they have measured, and their curves in one picture.

    The best of each row has a star. An unfinished run is taken at its best validation.

    Args:
        runs: Run directories, at least two.
        output: Where the picture of the curves is written.
        against: What the curves are drawn against.
        json: Write a JSON object in place of the tables.
    """
    from jaxvision import visualise
    from jaxvision.commands.printing import show
    from jaxvision.errors import UsageError
    from jaxvision.runs import comparison

    found = comparison.compare(runs)
    try:
        figure = comparison.figure(found, against)
    except UsageError as error:
        picture, said = None, f"no picture: {error}"
    else:
        visualise.save(figure, output)
        picture, said = str(output), f"curves in {output}"
    if json:
        print(
            to_json.dumps({**comparison.as_json(found), "picture": picture}, indent=2)
        )
    else:
        show(comparison.tables(found), wide=True)
        print(said)
