"""The command line of an experiment: the options of its config, and those of any run.

`--help` shows the experiment's own options first, then what of the others is often
wanted; `--help-all` shows all.  What no run can mean is refused here: numbers that are
not finite or need more than 64 bits, and a config with a field that is called like an
option of every experiment.
"""

import ast
import dataclasses
import inspect
import itertools
import math
import shlex
import shutil
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from jaxvision.errors import check
from jaxvision.printing import make_console, unread
from jaxvision.runs import programs, workdir
from jaxvision.runs.exit_codes import interactive
from jaxvision.runs.options import GROUPS, PLACE, RARE, Launch, Numerics, Place

HELP_ALL = "--help-all"


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command line asks for."""

    name: str
    program: str
    """The experiment, as in `programs`."""
    folder: Path
    """Where its code lies; the current folder for a cell of a notebook."""
    arguments: list[str]
    config: Any
    numerics: Numerics
    launch: Launch
    workdir: Path
    console: Console

    def silenced(self) -> "Command":
        """The same, without a word."""
        silent = Console(quiet=True, force_terminal=False)
        return dataclasses.replace(self, console=silent)


def parse(
    build: Callable[[Any], Any],
    Config: type,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
    name: str | None = None,
) -> Command:
    """The command; the parameters are those of `jaxvision.runs.run`.

    Raises `UsageError` for what no run can mean.  Options that do not exist and values
    that cannot be read end the process with code 2 and a message.
    """
    others = (Numerics(), Launch())
    program, words, parts = _given(
        build, Config, smoke, arguments, name, others, GROUPS
    )
    config, numerics, launch = parts
    launch.check()
    name = programs.name_of(program)
    return Command(
        name=name,
        program=program,
        folder=_folder(build),
        arguments=words,
        config=config,
        numerics=numerics,
        launch=launch,
        workdir=launch.workdir or workdir.default(name),
        console=make_console(),
    )


@dataclasses.dataclass(frozen=True)
class StudyCommand:
    """What the command line of a study asks for; fields as in `Command`."""

    name: str
    program: str
    folder: Path
    arguments: list[str]
    config: Any
    smoke: bool
    workdir: Path
    console: Console


def parse_study(
    examine: Callable[[Any], Any],
    Config: type,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
    name: str | None = None,
) -> StudyCommand:
    """The command of `jaxvision.runs.study`.  Raises as `parse`."""
    program, words, (config, place) = _given(
        examine, Config, smoke, arguments, name, (Place(),), {"run": PLACE}
    )
    name = programs.name_of(program)
    return StudyCommand(
        name=name,
        program=program,
        folder=_folder(examine),
        arguments=words,
        config=config,
        smoke=place.smoke,
        workdir=place.workdir or workdir.default(name),
        console=make_console(),
    )


def _folder(function: Callable) -> Path:
    """Where its code lies."""
    file = Path(inspect.getfile(function))
    return file.parent if file.exists() else Path.cwd()


def _given(function, Config, smoke, arguments, name, others, groups):
    """The program, its arguments, and the values that they give to a `Config` and
    the other dataclasses with options, which the help shows in groups."""
    if interactive():  # no file to name the run after; the command line is the kernel's
        module = function.__module__
        program = name or ("notebook" if module == "__main__" else module)
        arguments = list(arguments or ())
    else:
        program = name or programs.of(function)
        arguments = sys.argv[1:] if arguments is None else list(arguments)
    _check_names(Config, others)
    # Smoke only changes defaults: what is given explicitly still counts.
    defaults = Config(**smoke) if "--smoke" in arguments else Config()
    module = inspect.getmodule(function)
    with unread():
        parts = _parts(program, module, (defaults, *others), groups, arguments)
    for part in parts:
        _check_numbers(part)
    return program, arguments, parts


def _parts(program: str, module, parts, groups, arguments: Sequence[str]):
    """The dataclasses with the values that the arguments give."""
    fields = {field[0]: field for part in parts for field in _fields(part)}
    own = [field.name for field in dataclasses.fields(parts[0]) if field.init]
    groups = {"experiment": own, **groups}
    helps = {"-h", "--help", HELP_ALL} & set(arguments)
    command = shlex.join(["python", *programs.words(program)])
    if helps:
        # In a wheel the experiments that come with jaxvision are in another package.
        known = f"python -m experiments.{programs.name_of(program)}"
        print(_described(module).replace(known, command))
        if set(RARE) & groups.keys():
            print("\nMore options of any run: --help-all")
        if HELP_ALL not in helps:
            groups = {key: names for key, names in groups.items() if key not in RARE}
        arguments = ["--help"]
    grouped = [_group(title, names, fields) for title, names in groups.items()]
    options = _dataclass("Options", grouped)
    parsed = tyro.cli(options, prog=command, args=arguments)
    given = {
        option: value
        for group in vars(parsed).values()
        for option, value in vars(group).items()
    }
    return tuple(
        dataclasses.replace(
            part, **{f.name: given[f.name] for f in dataclasses.fields(part) if f.init}
        )
        for part in parts
    )


_Field = tuple[str, Any, Any]
"""Name, annotated type and default of an option."""


def _dataclass(name: str, fields: Sequence[_Field]) -> Any:
    return dataclasses.make_dataclass(name, fields, frozen=True)


def _group(name: str, names: Sequence[str], fields: Mapping[str, _Field]) -> _Field:
    """The options of these names as one field, which the help shows together."""
    group = _dataclass(name, [fields[each] for each in names])
    return name, Annotated[group, tyro.conf.OmitArgPrefixes], group()


def _described(module) -> str:
    """The module's docstring with its text wrapped and indented lines as they are."""
    width = shutil.get_terminal_size().columns
    paragraphs = (inspect.getdoc(module) or "").split("\n\n")
    return "\n\n".join(
        text if "\n " in f"\n{text}" else textwrap.fill(" ".join(text.split()), width)
        for text in paragraphs
    )


def _fields(part) -> Iterator[_Field]:
    """Name, annotated type and default of each option of a dataclass."""
    types = typing.get_type_hints(type(part), include_extras=True)
    docstrings = _docstrings(type(part))
    for field in dataclasses.fields(part):
        if field.init:
            value = getattr(part, field.name)
            told = "" if value in (None, ()) else None  # None: as tyro tells a default
            described = tyro.conf.arg(
                help=docstrings.get(field.name), help_behavior_hint=told
            )
            annotated: Any = Annotated[types[field.name], described]
            yield field.name, annotated, dataclasses.field(default=value)


def _docstrings(Config: type) -> dict[str, str]:
    """The strings below the fields of a class, each as one line.

    Those of the classes that it inherits from count too.  (tyro would keep the line
    breaks of the source.)  Empty where there is no source, as at a prompt.
    """
    found: dict[str, str] = {}
    for each in reversed(Config.__mro__[:-1]):
        try:
            source = textwrap.dedent(inspect.getsource(each))
        except (OSError, TypeError):
            continue
        body = typing.cast(ast.ClassDef, ast.parse(source).body[0]).body
        for statement, after in itertools.pairwise(body):
            match statement, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


def _check_names(Config: type, others: Sequence[Any]) -> None:
    built_in = {f.name for part in others for f in dataclasses.fields(part)}
    check(
        *(
            (
                field.name not in built_in,
                f"the field {field.name!r} of {Config.__name__} is called like an "
                "option that every experiment has: choose another name for it",
            )
            for field in dataclasses.fields(Config)
        )
    )


def _check_numbers(value: Any, name: str = "") -> None:
    """Refuses numbers that are not finite, and integers beyond 64 bits."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_numbers(getattr(value, field.name), field.name)
    elif isinstance(value, tuple | list):
        for each in value:
            _check_numbers(each, name)
    elif isinstance(value, float):
        check((math.isfinite(value), f"{_option(name)} must be finite, got {value}"))
    elif isinstance(value, int):
        within = -(2**63) <= value < 2**63
        check((within, f"{_option(name)} must be an integer of 64 bits, got {value}"))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
