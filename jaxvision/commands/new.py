"""`python -m jaxvision new`."""

import importlib.util
import keyword
import re
from pathlib import Path
from typing import Annotated

import tyro

import jaxvision
from jaxvision.errors import UsageError, check, unknown
from jaxvision.runs import programs


def new(
    name: tyro.conf.Positional[str],
    original: Annotated[str, tyro.conf.arg(name="from")],
) -> None:
    """Write an experiment to edit: new my_experiment --from mnist_lenet5.

    It is a file in this folder, and nothing is overwritten.

    Args:
        name: Of the new experiment.
        original: The experiment that comes with jaxvision and is copied; run without a
            name lists them.
    """
    name = name.removesuffix(".py")
    file, ours = Path(f"{name}.py"), programs.shipped()
    if original not in ours:
        raise unknown("experiment", original, ours)
    check(
        (
            name.isidentifier() and not keyword.iskeyword(name),
            f"an experiment is a module, which cannot be called {name!r}: use letters, "
            "digits and underscores",
        )
    )
    if not file.exists() and importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"{name} is the name of a module already, which {file} would hide: choose "
            "another one"
        )
    source = ours[original].read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(_adapted(source, original, name))
    except FileExistsError as error:
        raise UsageError(
            f"{file} exists, and nothing is overwritten: choose another name"
        ) from error
    print(
        f"{file}: written, a copy of {original} to edit.  Next:\n\n"
        f"    python -m {name} --smoke      a few seconds, to see that it works\n"
        f"    python -m {name} --help       its options, which are the fields of Config"
    )


def _adapted(source: str, original: str, name: str) -> str:
    """The text of an experiment under another name, outside of its package."""
    program = programs.of_file(programs.shipped()[original])
    package = program.rpartition(".")[0]
    source = source.replace(f"python -m experiments.{original}", f"python -m {name}")
    source = re.sub(r"^from \. import", f"from {package} import", source, flags=re.M)
    before, docstring, after = source.split('"""', 2)
    # What the original has measured, its copy has not.
    paragraphs = docstring.rstrip().split("\n\n")
    kept = [each for each in paragraphs if not each.startswith("Measured")]
    origin = f"Begun as a copy of {original} of jaxvision {jaxvision.__version__}."
    docstring = "\n\n".join([*kept, origin])
    return f'{before}"""{docstring}\n"""{after}'
