"""What the names of splits mean: the one place that decides it, for all formats.

A split is read under the names in `NAMES` alone.  A name that only looks like one, such
as `val2017` or `test_images`, is never passed over: the set is refused, since a test
split that is not seen would be trained on.
"""

import itertools
import re
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from jaxvision.data.files.problems import some
from jaxvision.errors import UsageError

Role = Literal["train", "test", "validation"]

NAMES: Mapping[Role, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "val", "valid", "dev"),
}
"""How a split may be called, in upper or lower case."""

TESTS: tuple[Role, ...] = ("test", "validation")
"""What a model is tested on: the first of these that there is, with annotations.  Where
there are both, the second chooses the best checkpoint."""

UNCLEAR = frozenset(
    [
        "eval",
        "evaluation",
        "heldout",
        "holdout",
        "minival",
        "trainval",
        "trn",
        "tst",
        "unseen",
    ]
)
"""Words that tell of a split, but not which one it is."""

FILLERS = frozenset(
    [
        "annotations",
        "data",
        "dataset",
        "files",
        "final",
        "folder",
        "ids",
        "image",
        "images",
        "img",
        "imgs",
        "index",
        "instances",
        "label",
        "labels",
        "list",
        "lists",
        "masks",
        "names",
        "obj",
        "of",
        "part",
        "private",
        "public",
        "samples",
        "set",
        "split",
        "subset",
        "the",
    ]
)
"""Words that, beside those for a split, leave a name one of a split."""

TABLES = frozenset(
    [
        ".csv",
        ".json",
        ".jsonl",
        ".list",
        ".lst",
        ".mat",
        ".npy",
        ".npz",
        ".parquet",
        ".pkl",
        ".tsv",
        ".txt",
        ".xml",
        ".yaml",
        ".yml",
    ]
)
"""Suffixes of files that may say which images are in a split."""

_ROLES = {name: role for role, names in NAMES.items() for name in names}
_SPLIT_WORDS = _ROLES.keys() | UNCLEAR
_GLUED = re.compile(f"({'|'.join(_SPLIT_WORDS)})({'|'.join(FILLERS)})")


def role(name: str) -> Role | None:
    """The split that is called `name`; None for any other name."""
    return _ROLES.get(name.strip().casefold())


def mentions(name: str) -> bool:
    """Whether a word of `name` tells of a split: `test_easy`, `isTest`, `val2017`."""
    return any(word in _SPLIT_WORDS for word in _words(name))


def resembles(name: str) -> bool:
    """Whether `name` tells of a split and of little else: `test_images`, `val2017`.

    Unlike `test_tube` and `train_station`, which may be classes.
    """
    rest = {word for word in _words(name) if len(word) > 1} - FILLERS
    return bool(rest) and rest <= _SPLIT_WORDS


def family(name: str) -> tuple[Role | None, str]:
    """The split that `name` mentions, and the name without it.

    Files of one set differ in their split only: `instances_train2017` and
    `instances_val2017` are both of the family `instances_*2017`.  The split is None if
    it mentions none, or several.
    """
    found = {_ROLES[word] for word in _words(name) if word in _ROLES}
    rest = name.casefold()
    for word in sorted(_ROLES, key=len, reverse=True):
        rest = re.sub(rf"(?<![a-z]){word}(?![a-z])", "*", rest)
    return (found.pop() if len(found) == 1 else None), rest


def unique[T](items: Iterable[tuple[str, Role | None, T]], where: str) -> dict[Role, T]:
    """The items by the splits that they are.

    Args:
      items: what each is called, the split that it is if any, and the item itself.
      where: how an error begins, such as `"PATH has the folders"`.

    Raises `UsageError` if two are of one split.
    """
    found: dict[Role, dict[str, T]] = {}
    for name, split, item in items:
        if split is not None:
            found.setdefault(split, {})[name] = item
    for split, called in found.items():
        if len(called) > 1:
            raise UsageError(
                f"{where} {' and '.join(called)}, which are all {split} splits: keep "
                "one of them there, or call only one so"
            )
    return {split: item for split, each in found.items() for item in each.values()}


def refuse_unread(root: Path, names: Iterable[str]) -> None:
    """Raise `UsageError` for what looks like a split and is not read as one."""
    if names := sorted(names):
        known = ", ".join(sorted(_ROLES))
        raise UsageError(
            f"{root} has {some(names)}, which looks like a split and is not read as "
            f"one.  A split is called one of {known}: call it so, or something else "
            "that tells of no split, or move it elsewhere.  A test split that is "
            "overlooked would be trained on"
        )


class Choice[T](NamedTuple):
    """What is declared beside the training split, and is used."""

    splits: tuple[T, ...]
    """What a model is tested on, and then what its best checkpoint is chosen by, if
    that is declared too; empty: a part of the training split is to be held out."""
    words: tuple[str, ...]
    """Of each of them which images it has, and who says so; where there is none, one:
    why a part is held out."""


NOTHING: Choice = Choice((), ("nothing declares a test split",))


def choose[T](
    there: Mapping[Role, T],
    describe: Callable[[T], str],
    answered: Callable[[T], bool] = lambda split: True,
) -> Choice[T]:
    """The splits to test on, and to choose the best checkpoint by.

    A model is tested on the test split, or else on that for validation; where both are
    there, the latter chooses.

    Args:
      there: the splits; a training split is ignored.
      describe: what a split is called, such as `"the folder val/"`.
      answered: whether it has annotations; contests keep those of their test split.
    """
    tests = [there[split] for split in TESTS if split in there]
    usable = [answered(split) for split in tests]
    chosen = tuple(itertools.compress(tests, usable))
    aside = [
        f"{describe(split)} has no annotations of these classes"
        for split, use in zip(tests, usable, strict=True)
        if not use
    ]
    words = [f"{describe(split)}, as declared" for split in chosen]
    if not words and not aside:
        return NOTHING
    return Choice(chosen, ("; ".join([*words[:1], *aside]), *words[1:]))


def check_undivided(
    name: str, root: Path, paths: Iterable[str], known: Container[str] = ()
) -> None:
    """Refuse to hold out images at random where anything tells of splits.

    That is, `UsageError` for a path in a folder like `val/`, or paths in several that
    look like splits; and for a file like `val_list.txt` in `root`.

    known: names of files in `root` that were looked at already.
    """
    refuse_unread(
        root,
        [
            path.name
            for path in root.iterdir()
            if path.suffix.lower() in TABLES
            and path.name not in known
            and resembles(path.stem)
        ],
    )
    parts = {part for path in paths for part in path.split("/")[:-1]}
    like = sorted(part for part in parts if resembles(part))
    if len(like) > 1 or any(family(part)[0] != "train" for part in like):
        raise UsageError(
            f"the images of {name} are in folders called {some(like)}, which look like "
            "splits, and nothing says which images are to be tested on: a random part "
            "of all of them would mix the two.  Declare the splits as docs/data.md "
            "says for this kind of data, or call the folders something else"
        )


def _words(name: str) -> list[str]:
    """The words of a name, in lower case: `["public", "test"]` of `PublicTest-2`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    apart = re.sub(r"(?<![a-z])h[eo]ld[ _-]out", "holdout", apart)
    words: list[str] = []
    for word in re.findall("[a-z]+", apart):
        glued = _GLUED.fullmatch(word)
        words += glued.groups() if glued else [word]
    return words
