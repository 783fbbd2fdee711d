"""`python -m jaxvision report`."""

from pathlib import Path

import tyro


def report(run_dir: tyro.conf.Positional[Path]) -> None:
    """Write report.html of a finished run again: its results, pictures and config.

    Args:
        run_dir: The run directory, which holds result.json.
    """
    from jaxvision.runs import report

    print(f"{report.write(run_dir)}: written")
