"""`python -m jaxvision quality`."""

import shlex
import sys
from pathlib import Path

from jaxvision.commands.printing import file_name, show_rows
from jaxvision.errors import UsageError


def quality(
    dataset: str,
    labels: str | None = None,
    folds: int = 5,
    options: str = "",
    output: Path | None = None,
) -> None:
    """Look for copies, odd images and wrong labels in a data set; write a report.

    Args:
        dataset: As in `--dataset` of the experiments.
        labels: An experiment, such as mnist_lenet5, that is trained once for each
            fold to find labels that are likely wrong. Default: do not.
        folds: Into how many parts the training split is cut for that.
        options: Of that experiment, as one word: --options="--epochs 2 --seed 1".
        output: The folder of report.html, exclusions.txt and the pictures. Folds that
            are finished there are not trained again. Default: runs/quality/DATASET.
    """
    from jaxvision.quality import report

    found = report.make(
        dataset,
        output := output or Path("runs", "quality", file_name(dataset)),
        experiment=labels,
        folds=folds,
        options=_words(options),
        command=sys.argv[1:],
    )
    show_rows(report.summary(found) or {"nothing": "found"})
    print(f"written to {output}: report.html, report.json, exclusions.txt, pictures")


def _words(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise UsageError(
            f"--options {options!r} cannot be split into words: {error}"
        ) from None
