"""What a user sees when the input is bad: one exception, one way to word it."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The input is wrong and the message says what was got, wanted, and what to do.

    `run` prints the message alone and exits with code 2: nobody reads a traceback for
    a mistake in a config.  As a library the exception behaves like any `ValueError`.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist: the nearest names come first."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(map(repr, near)) + "?"
    else:
        hint = "choose from: " + ", ".join(known[:40]) + (" …" * (len(known) > 40))
    return UsageError(f"unknown {kind} {name!r}: {hint}")


def check(*rules: tuple[bool, str]) -> None:
    """Raise one `UsageError` that lists the message of every rule that does not hold.

    >>> check((epochs > 0, f"epochs must be positive, got {epochs}"), ...)
    """
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise UsageError("\n".join(broken))
