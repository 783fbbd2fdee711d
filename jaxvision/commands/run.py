"""`python -m jaxvision run`."""

import ast
from collections.abc import Callable

from jaxvision.commands.printing import show_rows
from jaxvision.runs import programs


def run() -> Callable[[list[str]], None]:
    """Run an experiment with its options: run mnist_lenet5 --epochs 3.

    It is called by its name if it comes with jaxvision, by the path of its file, or by
    its module: this is python -m MODULE, or python FILE. Without a name: list those
    that come with jaxvision.
    """
    return _run


def _run(passed: list[str]) -> None:
    if passed:
        name, *options = passed
        programs.become(programs.find(name), options)
    show_rows({name: _title(path) for name, path in programs.shipped().items()})


def _title(path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
