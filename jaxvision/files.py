"""Files that are written whole or not at all, and where caches are kept."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxvision.errors import UsageError


def user_cache() -> Path:
    """Our folder among the user's caches; it may not exist yet."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "jaxvision"


def expanded(path: str | Path) -> Path:
    """With a user's home in place of `~`.  Raises `UsageError` if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{path} is in the home of a user that this machine does not know: write "
            "the whole path"
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what is to take the place of `path` when the block ends.

    A crash, or an exception in the block, leaves what was there before.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):  # in a folder that is gone or read-only, there is none
            partial.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Put `text` in place of what `path` holds; a crash leaves the old or the new."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
