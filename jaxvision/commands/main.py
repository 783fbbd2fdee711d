"""`python -m jaxvision run | new | models | datasets | augment | quality | table | …`.

Where it is installed, `jaxvision` is the same.

Each command is a function in a file of its own: its signature is the command line, its
docstring the help.  What a command needs is imported inside it, so that `--help`
answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import tyro

from jaxvision.commands.augment import augment
from jaxvision.commands.compare import compare
from jaxvision.commands.datasets import datasets
from jaxvision.commands.doctor import doctor
from jaxvision.commands.draw import draw
from jaxvision.commands.explain import explain
from jaxvision.commands.export import export
from jaxvision.commands.hub import pull, push
from jaxvision.commands.launch import launch
from jaxvision.commands.models import models
from jaxvision.commands.new import new
from jaxvision.commands.predict import predict
from jaxvision.commands.prepare import prepare
from jaxvision.commands.publish import publish
from jaxvision.commands.quality import quality
from jaxvision.commands.report import report
from jaxvision.commands.run import run
from jaxvision.commands.runs import runs
from jaxvision.commands.serve import serve
from jaxvision.commands.sweep import sweep
from jaxvision.commands.table import table
from jaxvision.errors import UsageError, unknown
from jaxvision.printing import print_whatever_the_encoding, unread

EXIT_USAGE = 2


COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run,
    "new": new,
    "models": models,
    "predict": predict,
    "explain": explain,
    "draw": draw,
    "datasets": datasets,
    "augment": augment,
    "quality": quality,
    "table": table,
    "publish": publish,
    "report": report,
    "runs": runs,
    "compare": compare,
    "export": export,
    "push": push,
    "pull": pull,
    "serve": serve,
    "prepare": prepare,
    "doctor": doctor,
    "launch": launch,
    "sweep": sweep,
}
PASSED_ON = {
    "run": lambda word: not word.startswith("-"),
    "doctor": lambda word: not word.startswith("-"),
    "launch": lambda word: word == "-m",
    "sweep": lambda word: word == "--",
}
"""Commands that are about another one, and the word at which that one begins.  They
return a function of its words."""


def script() -> None:
    """The console script.  As `python -m` does, it looks for modules in this folder."""
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()
    main()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.  A mistake of the user ends with one message and code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments, passed = _split(arguments)
    print_whatever_the_encoding()
    try:
        with unread():
            _run(arguments, passed)
    except UsageError as error:
        _leave(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        # Commands read and write what their user names.
        _leave(f"{error.filename} cannot be used: {error.strerror}")


def _run(arguments: list[str], passed: list[str]) -> None:
    if "" in arguments:  # which as a path would mean the current folder
        raise UsageError(
            "one of the arguments is empty, perhaps a variable of the shell that is "
            f"not set: {' '.join(map(repr, arguments))}"
        )
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS)
    then = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="python -m jaxvision",
        description="Computer vision research in JAX. Experiments are programs of "
        "their own, which run begins: run mnist_lenet5 --help",
        args=arguments or ["--help"],
        config=(
            tyro.conf.FlagCreatePairsOff,
            tyro.conf.PositionalMetavarFromFieldName,
        ),
    )
    if then is not None:
        then(passed)


def _leave(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The words of the command, and those that it passes on."""
    begins = PASSED_ON.get(arguments[0]) if arguments else None
    if begins is not None:
        for i, word in enumerate(arguments[1:], start=1):
            if begins(word):
                return arguments[:i], arguments[i + (word == "--") :]
    return arguments, []
