"""Lists of examples to leave out, such as `python -m jaxvision quality` writes them.

A list is a text to be read and edited, one example per line, with the reason:

    data train 60000 0123456789abcdef mnist:train
    data test 10000 fedcba9876543210 mnist:test

    train 123 duplicate of train 45
    # test 17 blank

Lines that begin with `#` are ignored.  The lines that begin with `data` say what the
list was made for: split, number of examples, fingerprint, and a name, which is not
compared.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvision.data.feed.streaming import quick_fingerprint
from jaxvision.data.files import reading
from jaxvision.data.rows import take
from jaxvision.data.source import Source, fingerprint
from jaxvision.errors import UsageError
from jaxvision.files import expanded

_LISTED = 10
_NUMBER = re.compile("[0-9]{1,12}")


class Part(NamedTuple):
    """What a list says of one split."""

    size: int
    """Examples in the split, before any is left out."""
    fingerprint: str
    rows: np.ndarray
    """int [n], ascending: the examples to leave out."""


class Exclusions(NamedTuple):
    """The content of a list, which `read` returns and `exclude` applies."""

    path: Path
    parts: Mapping[str, Part]
    """By split, such as `"train"` and `"test"`."""


def exclude(source: Source, listed: Exclusions) -> Source:
    """The source without the examples that are listed for its split.

    A split of which none is listed is returned unchanged.  Nothing is read here:
    whether the list was made for these data is checked by the number of examples now,
    and by the fingerprint when the first example is read, before any training.

    Raises `UsageError` if it was made for other data, if it does not mention the split,
    or if no example would be left.
    """
    split = source.split
    if split not in listed.parts:
        known = " and ".join(listed.parts)
        raise UsageError(
            f"{listed.path} is for the splits {known}, not for {source.name}: a list "
            "has a line `data` for every split, as python -m jaxvision quality writes "
            "it, and is for whole splits, not for parts of them"
        )
    part = listed.parts[split]
    if part.size != source.size:
        raise _other_data(
            source, listed, f"those have {part.size} examples, these {source.size}"
        )
    if not len(part.rows):
        return source
    if len(part.rows) == source.size:
        raise UsageError(f"{listed.path} leaves no example of {source.name}")
    kept = np.setdiff1d(np.arange(source.size), part.rows)

    def check(whole: Source) -> None:
        found = identity(whole)
        if found != part.fingerprint:
            raise _other_data(
                source,
                listed,
                f"their fingerprint is {part.fingerprint}, here it is {found}",
            )

    @functools.cache
    def rows() -> np.ndarray:
        if source.encoded:  # otherwise it takes all the images, see `read`
            check(source)
        return kept

    def read() -> dict[str, np.ndarray]:
        data = source.read()
        if not source.encoded:
            check(source._replace(read=lambda: data))
        return {key: array[rows()] for key, array in data.items()}

    name = f"{source.name} without {len(part.rows)}"
    return take(source, rows, name=name, size=len(kept))._replace(read=read)


def identity(source: Source) -> str:
    """The fingerprint by which a list recognises a source.

    The whole source is read if it has no files of which a sample could be read.
    """
    if source.targets and source.encoded:
        return quick_fingerprint(source)
    return fingerprint(source)


def read(path: str | Path) -> Exclusions:
    """The list in a file.  Raises one `UsageError` for all lines that are wrong."""
    path = expanded(path)
    heads: dict[str, tuple[int, str]] = {}
    rows: dict[str, set[int]] = {}
    problems: list[str] = []
    for number, line in enumerate(reading.lines(path), start=1):
        if not line or line.startswith("#"):
            continue
        match line.split():
            case ["data", split, size, digest, *_] if _NUMBER.fullmatch(size):
                heads[split] = int(size), digest
                rows[split] = set()
            case [split, index, *_] if split in heads and _NUMBER.fullmatch(index):
                if int(index) < heads[split][0]:
                    rows[split].add(int(index))
                else:
                    problems.append(
                        f"line {number}: {split} has examples from 0 to "
                        f"{heads[split][0] - 1}, not {index}"
                    )
            case _:
                problems.append(
                    f"line {number}: {line!r:.80} is neither 'data SPLIT EXAMPLES "
                    "FINGERPRINT' nor 'SPLIT INDEX REASON'"
                )
    if not heads and not problems:
        problems.append("it does not say what data it is for; see docs/quality.md")
    if problems:
        more = f"\n  … and {len(problems) - _LISTED} more" * (len(problems) > _LISTED)
        raise UsageError(
            f"the exclude list {path} cannot be used:"
            + "".join(f"\n  {problem}" for problem in problems[:_LISTED])
            + more
        )
    return Exclusions(
        path,
        {
            split: Part(size, digest, np.array(sorted(rows[split]), int))
            for split, (size, digest) in heads.items()
        },
    )


def write(
    sources: Iterable[tuple[Source, str]],
    sections: Iterable[tuple[str, Iterable[str]]],
) -> str:
    """The text of a list.

    Args:
      sources: the whole splits, each with its `identity`.
      sections: a heading and its lines, `"train 123 reason"`; those that begin with
        `#` are suggestions, and leave nothing out.
    """
    text = [
        "# Examples to leave out, one per line.  Lines that begin with # are ignored.",
        "# An experiment takes this list as --exclude PATH.",
        "",
        *(
            f"data {source.split} {source.size} {digest} {source.name}"
            for source, digest in sources
        ),
    ]
    for heading, lines in sections:
        text += ["", f"# {heading}", *lines]
    return "\n".join(text) + "\n"


def _other_data(source: Source, listed: Exclusions, reason: str) -> UsageError:
    return UsageError(
        f"the exclude list {listed.path} was made for other data than {source.name} "
        f"({reason}): make one for these, with python -m jaxvision quality --dataset "
        f"{source.dataset}"
    )
